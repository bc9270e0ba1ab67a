"""One attempt: judges the head of a model server's answer and takes its body in the way that fits.

Owns what one endpoint said; does not choose endpoints and does not talk to the caller (`delivery` does both). A Sink
on the loop's thread, and the owner of the compiled Relay when the answer is an event stream.
"""

from enum import Enum, auto
from typing import TYPE_CHECKING

from _native.jsonscan import FRAME_ERROR, JsonError, frame_facts
from _native.relay import Relay, Sink, StreamFilter
from backends.base import Cause, Moment, UpstreamError
from fastpath.errors import Header
from fastpath.relay.fields import value_of

if TYPE_CHECKING:
    from backends.http.client import HttpCall
    from fastpath.relay.delivery import Delivery
    from fastpath.snapshot import Target

#: Answers that another endpoint may do better. 401 and 403 are about our key, not the caller's.
ELSEWHERE = frozenset({401, 403, 408, 429, 500, 502, 503, 504, 529})
#: A refusal's body is passed to the caller, so it is bounded.
REFUSAL_LIMIT = 1 << 20


class Intake(Enum):
    """What becomes of the body: not known yet, collected, passed on as it comes, or dropped."""

    HEAD = auto()
    COLLECT = auto()
    PASS = auto()
    DROP = auto()


class BadStatus(UpstreamError):
    """The endpoint answered with a status that another endpoint may better. retry_after in seconds, None if unsaid."""

    def __init__(self, status: int, retry_after: float | None) -> None:
        super().__init__(Cause.STATUS, Moment.HEAD, str(status))
        self.status = status
        self.retry_after = retry_after


class Attempt(Sink):
    """One try on one target."""

    __slots__ = ("_collected", "_delivery", "_intake", "_limit", "_out", "handle", "headers", "over", "relay",
                 "size", "status", "stream", "target", "usage_asked")  # fmt: skip

    def __init__(self, delivery: "Delivery", target: "Target", usage_asked: bool) -> None:
        self._delivery = delivery
        self._intake = Intake.HEAD
        self._collected: list[bytes] = []
        self._limit = 0
        self._out: Sink | None = None
        self.target = target
        self.usage_asked = usage_asked
        self.size = 0  # bytes of the body so far
        self.handle: HttpCall | None = None
        self.status = 0
        self.headers: list[Header] = []
        self.stream: StreamFilter | None = None
        self.relay: Relay | None = None
        self.over = False

    # -- Sink: what the endpoint says

    def head(self, status: int, headers: list[Header]) -> Sink:
        self.status = status
        self.headers = headers
        if status in ELSEWHERE or status < 200 or 300 <= status < 400 or status >= 500:
            return self._reject(BadStatus(status, _retry_after(headers)))
        if value_of(headers, b"content-encoding").lower() not in (b"", b"identity"):
            return self._reject(_bad("a content coding nobody asked for"))
        if status >= 400:
            return self._collect(REFUSAL_LIMIT)
        return self._accept(value_of(headers, b"content-type").lower())

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self._intake is Intake.COLLECT:
            if self.size > self._limit or not self._delivery.hold(len(data)):
                self._reject(_bad("an answer larger than the limit"))
                return
            self._collected.append(data)
        elif self._intake is Intake.PASS and self._out is not None:
            self._out.write(data)

    def finish(self) -> None:
        if not self.over:
            self._delivery.guarded(self._finish)

    def _finish(self) -> None:
        if self._intake is Intake.PASS:
            self._delivery.passed(self)
            return
        body = b"".join(self._collected)
        if self.status < 400 and self._delivery.wants_json:
            problem = _json_problem(body)
            if problem is not None:
                self._reject(_bad(problem))
                return
        self._delivery.answered(self, body)

    def fail(self, error: UpstreamError) -> None:
        if not self.over:
            self._delivery.attempt_failed(self, error)

    # -- RelayOwner: how the event stream goes

    def open(self) -> Sink:
        return self._delivery.open_stream()

    def ended(self, stream: StreamFilter) -> None:
        if not self.over:
            self._delivery.guarded(self._delivery.stream_ended, self, stream)

    def failed(self, error: UpstreamError) -> None:
        self.fail(error)

    # -- steps

    def _accept(self, content_type: bytes) -> Sink:
        events = content_type.startswith(b"text/event-stream")
        if events:
            if not self._delivery.streaming and self._delivery.wants_json:
                return self._reject(_bad("an event stream where JSON was asked for"))
            return self._relay()
        if self._delivery.streaming and self._delivery.wants_json:
            return self._reject(_bad("no event stream where one was asked for"))
        if not self._delivery.wants_json and value_of(self.headers, b"content-length"):
            self._intake = Intake.PASS
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
        self._intake = Intake.COLLECT
        self._limit = limit
        return self

    def _reject(self, error: UpstreamError) -> Sink:
        """Gives the answer up; a short refusal may still end properly so that its connection can be used again."""
        self._intake = Intake.DROP
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


def _json_problem(body: bytes) -> str | None:
    try:
        flags, _ = frame_facts(body)
    except JsonError:
        return "an answer that is not JSON"
    if body.lstrip()[:1] not in (b"{", b"["):
        return "an answer that is a bare JSON value"
    return "an error object under status 200" if flags & FRAME_ERROR else None


def _retry_after(headers: list[Header]) -> float | None:
    for name, scale in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        try:
            seconds = float(value_of(headers, name)) * scale
        except ValueError:
            continue
        if 0 <= seconds <= 86_400:
            return seconds
    return None
