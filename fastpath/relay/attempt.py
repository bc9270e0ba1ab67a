"""One attempt: judges the head of a model server's answer and takes its body in the way that fits.

Owns what one endpoint said; does not choose endpoints and does not talk to the caller (`delivery` does both). A Sink
on the loop's thread, and the owner of the compiled Relay when the answer is an event stream.
"""

from typing import TYPE_CHECKING

from _native.answers import read_answer
from _native.relay import Relay, Sink, Source, StreamFilter
from backends.base import Cause, Moment, UpstreamError
from backends.dialects import orca
from fastpath.errors import Header
from fastpath.relay.fields import value_of

if TYPE_CHECKING:
    from backends.http.client import HttpCall
    from fastpath.snapshot import Target

#: Answers that another endpoint may do better. 401 and 403 are about our key, not the caller's.
ELSEWHERE = frozenset({401, 403, 408, 429, 500, 502, 503, 504, 529})
#: Why a whole answer is not what it should be, by the verdict of `read_answer`.
PROBLEMS = (
    "",
    "an answer that is not JSON",
    "an error object under status 200",
    "an answer that is a bare JSON value",
)
#: The field by which a server says how busy it is.
LOAD = orca.FIELD
JSON = b"application/json"
#: A refusal's body is passed to the caller, so it is bounded.
REFUSAL_LIMIT = 1 << 20


class BadStatus(UpstreamError):
    """The endpoint answered with a status that another endpoint may better. retry_after in seconds, None if unsaid."""

    def __init__(self, status: int, retry_after: float | None) -> None:
        super().__init__(Cause.STATUS, Moment.HEAD, str(status))
        self.status = status
        self.retry_after = retry_after


class AttemptOwner(Source):
    """What an attempt tells, and asks of, the delivery that it is part of. A Source to the caller's Sink."""

    response_limit: int  # bytes of an answer that is sent whole
    wants_json: bool
    streaming: bool

    def fault(self, error: Exception) -> None:
        """A bug of ours, met in a step that a callback began."""
        raise NotImplementedError

    def reported(self, attempt: "Attempt", load: bytes) -> None:
        """Its endpoint said in a header how busy it is."""
        raise NotImplementedError

    def attempt_failed(self, attempt: "Attempt", error: UpstreamError) -> None:
        """It will not deliver (the rest of) the answer."""
        raise NotImplementedError

    def answered(self, attempt: "Attempt", body: bytes, start: int, end: int) -> None:
        """A whole answer; start, end: where in it stands the JSON of what it says it cost, -1 for nowhere."""
        raise NotImplementedError

    def refused(self, attempt: "Attempt", body: bytes) -> None:
        """A refusal that is the caller's to read."""
        raise NotImplementedError

    def hold(self, size: int) -> bool:
        """Whether there is room for that many bytes more of an answer that is collected."""
        raise NotImplementedError

    def stream_filter(self, attempt: "Attempt") -> StreamFilter:
        """What its events go through."""
        raise NotImplementedError

    def open_stream(self) -> Sink:
        """The caller's side of an event stream, whose first event is here."""
        raise NotImplementedError

    def open_body(self, attempt: "Attempt") -> Sink:
        """The caller's side of a body that passes as it comes."""
        raise NotImplementedError

    def passed(self, attempt: "Attempt") -> None:
        """Such a body is complete."""
        raise NotImplementedError

    def stream_ended(self, attempt: "Attempt", stream: StreamFilter) -> None:
        """An event stream ended, as it should or not."""
        raise NotImplementedError


class Attempt(Sink):
    """One try on one target. Its body is collected, passed on as it comes, relayed as events, or dropped."""

    def __init__(self, delivery: AttemptOwner, target: "Target", usage_asked: bool) -> None:
        self.prepare(delivery, target, usage_asked)

    def prepare(self, delivery: AttemptOwner, target: "Target", usage_asked: bool) -> None:
        """What `__init__` does: called from C it needs no tuple of arguments."""
        self._delivery = delivery
        self._collected: list[bytes] | None = None
        self._limit = 0
        self._out: Sink | None = None
        self.target = target
        self.usage_asked = usage_asked
        self.size = 0  # bytes of the body so far
        self.began = 0.0  # s, monotonic
        self.unread = 0  # tokens of its prompt, until they are read or never will be
        self.mark = 0.0  # which sample of the endpoint they are counted beside
        self.handle: HttpCall | None = None
        self.status = 0
        self.headers: list[Header] = []
        self.stream: StreamFilter | None = None
        self.relay: Relay | None = None
        self.over = False
        self.late = False  # it waits longer than its endpoint usually takes, and that was noted

    # -- Sink: what the endpoint says

    def head(self, status: int, headers: list[Header]) -> Sink:
        self.status = status
        self.headers = headers
        if status != 200 and (status in ELSEWHERE or status < 200 or 300 <= status < 400 or status >= 500):
            return self._reject(BadStatus(status, _retry_after(headers)))
        coding = b""
        for name, value in headers:
            if name == b"content-encoding":
                coding = coding or value
            elif name == LOAD:
                self._delivery.reported(self, value)
        if coding and coding.lower() != b"identity":
            return self._reject(_bad("a content coding nobody asked for"))
        if status >= 400:
            return self._collect(REFUSAL_LIMIT)
        return self._accept(value_of(headers, b"content-type"))

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self._collected is not None:
            if self.size > self._limit or not self._delivery.hold(len(data)):
                self._reject(_bad("an answer larger than the limit"))
                return
            self._collected.append(data)
        elif self._out is not None:
            self._out.write(data)

    def finish(self) -> None:
        if self.over:
            return
        try:
            self._finish()
        except Exception as error:
            self._delivery.fault(error)

    def _finish(self) -> None:
        if self._collected is None:
            self._delivery.passed(self)
            return
        body = self._collected[0] if len(self._collected) == 1 else b"".join(self._collected)
        if self.status >= 400:
            self._delivery.refused(self, body)
            return
        verdict, start, end = read_answer(body)
        if verdict and self._delivery.wants_json:
            self._reject(_bad(PROBLEMS[verdict]))
            return
        self._delivery.answered(self, body, start, end)

    def fail(self, error: UpstreamError) -> None:
        if not self.over:
            self._delivery.attempt_failed(self, error)

    # -- RelayOwner: how the event stream goes

    def open(self) -> Sink:
        return self._delivery.open_stream()

    def ended(self, stream: StreamFilter) -> None:
        if self.over:
            return
        try:
            self._delivery.stream_ended(self, stream)
        except Exception as error:
            self._delivery.fault(error)

    def failed(self, error: UpstreamError) -> None:
        self.fail(error)

    # -- steps

    def _accept(self, content_type: bytes) -> Sink:
        events = content_type != JSON and content_type[:17].lower() == b"text/event-stream"
        if events:
            if not self._delivery.streaming and self._delivery.wants_json:
                return self._reject(_bad("an event stream where JSON was asked for"))
            return self._relay()
        if self._delivery.streaming and self._delivery.wants_json:
            return self._reject(_bad("no event stream where one was asked for"))
        if not self._delivery.wants_json and value_of(self.headers, b"content-length"):
            self._out = self._delivery.open_body(self)
            return self
        return self._collect(self._delivery.response_limit)

    def _relay(self) -> Sink:
        stream = self.stream = self._delivery.stream_filter(self)
        if self.handle is not None:
            self.handle.watch(stream)
        self.relay = Relay(stream, self)
        return self.relay

    def _collect(self, limit: int) -> Sink:
        self._collected = []
        self._limit = limit
        return self

    def _reject(self, error: UpstreamError) -> Sink:
        """Gives the answer up; a short refusal may still end properly so that its connection can be used again."""
        self._collected = self._out = None
        handle = self.handle
        self._delivery.attempt_failed(self, error)
        if handle is not None:
            if isinstance(error, BadStatus):
                handle.linger()
            else:
                handle.cancel()
        return self


def _bad(detail: str) -> UpstreamError:
    return UpstreamError(Cause.BAD_ANSWER, Moment.HEAD, detail)


def _retry_after(headers: list[Header]) -> float | None:
    for name, scale in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        try:
            seconds = float(value_of(headers, name)) * scale
        except ValueError:
            continue
        if 0 <= seconds <= 86_400:
            return seconds
    return None
