"""A backend that speaks another dialect: OpenAI's call in, the provider's on the wire, OpenAI's answer out.

Owns the way of bytes between an HTTP backend and the pipeline's Sink; what they mean is a `Dialect`'s. The handle of a
translated call is an HTTP call itself, so pausing, cancelling and deadlines are those of any other call. A whole
answer is held until its end, counted in the worker's memory budget; a stream's events pass as they come. Single loop.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from _native.relay import Sink
from backends.base import Cause, Moment, UpstreamError
from backends.call import Call
from backends.dialects.chunks import error_body
from backends.dialects.dialect import BadAnswer, Dialect, Failed, Refused, StreamTranslator, Translation
from backends.http.client import HttpBackend, HttpCall

Header = tuple[bytes, bytes]

#: Bytes of a whole answer, and of a refusal.
ANSWER_LIMIT = 64 << 20
REFUSAL_LIMIT = 1 << 20
#: Refusals of which the status says all: whoever waited for their bodies would wait too long.
_TOLD_BY_STATUS = frozenset({401, 403, 408, 429})
#: Fields that are true of the provider's bytes only.
_OF_BODY = frozenset({b"content-type", b"content-length"})
_JSON: Header = (b"content-type", b"application/json")
_EVENTS: Header = (b"content-type", b"text/event-stream; charset=utf-8")


class Budget(Protocol):
    """The worker's memory: `fastpath.observe.budget.MemoryBudget`."""

    def reserve(self, n: int, /) -> bool: ...
    def release(self, n: int, /) -> None: ...


class TranslatingBackend:
    """Implements `backends.base.Backend` in front of an HttpBackend. Stateless: several may share one."""

    def __init__(self, inner: HttpBackend, dialect: Dialect, budget: Budget) -> None:
        self.inner = inner
        self.dialect = dialect
        self._budget = budget

    def start(self, call: Call, sink: Sink) -> HttpCall:
        if "/v1" + call.path in self.dialect.native:
            return self.inner.start(call, sink)
        clock = self.inner.clock
        try:
            translation = self.dialect.begin(call, int(clock.now()), _ident(call.fields))
        except Refused as error:
            unsent = HttpCall(self.inner, call, sink, clock.monotonic())
            asyncio.get_running_loop().call_soon(_refuse, unsent, sink, error)
            return unsent
        taker = TranslatingSink(translation, sink, self._budget)
        taker.handle = handle = TranslatedCall(self.inner, translation.call, taker, clock.monotonic())
        self.inner.calls.add(handle)
        self.inner.pool.acquire(handle)
        return handle

    async def close(self) -> None:
        await self.inner.close()


class TranslatedCall(HttpCall):
    """An HTTP call whose Sink holds memory, which goes back when nobody wants the answer any more."""

    def __init__(self, inner: HttpBackend, call: Call, taker: "TranslatingSink", now: float) -> None:
        super().__init__(inner, call, taker, now)
        self._taker = taker

    def cancel(self) -> None:
        super().cancel()
        self._taker.let_go()


class TranslatingSink(Sink):
    """Takes one call's answer in the provider's dialect, gives it in OpenAI's. Silent once it failed or finished."""

    def __init__(self, translation: Translation, out: Sink, budget: Budget) -> None:
        self.handle: HttpCall | None = None
        self._translation = translation
        self._out = out
        self._budget = budget
        self._status = 0
        self._headers: list[Header] = []
        self._stream: StreamTranslator | None = None
        self._collected: list[bytes] | None = None  # None: bytes go to the stream, or untouched
        self._size = 0
        self._over = False

    # -- from the HTTP call

    def head(self, status: int, headers: list[Header]) -> Sink:
        self._status = status
        self._headers = [field for field in headers if field[0] not in _OF_BODY]
        refused = 400 <= status < 500 and status not in _TOLD_BY_STATUS
        if _is_coded(headers) or not (_is_good(status) or refused):
            self._out = self._out.head(status, headers)
            return self
        if not refused and self._translation.media is not None:
            self._open_stream(self._translation.media, dict(headers).get(b"content-type", b""))
        else:
            self._collected = []
        return self

    def write(self, data: bytes) -> None:
        if self._over:
            return
        if self._stream is not None:
            self._pass_on(self._stream, data)
        elif self._collected is None:
            self._out.write(data)
        elif self._size + len(data) > (ANSWER_LIMIT if _is_good(self._status) else REFUSAL_LIMIT):
            self._give_up(_bad("an answer larger than the limit"))
        elif not self._budget.reserve(len(data)):
            self._give_up(_bad("an answer for which there is no memory"))
        else:
            self._collected.append(data)
            self._size += len(data)

    def finish(self) -> None:
        if self._over:
            return
        if self._stream is not None:
            self._end_stream(self._stream)
        elif self._collected is None:
            self._out.finish()
        else:
            self._reply(b"".join(self._collected))

    def fail(self, error: UpstreamError) -> None:
        if not self._over:
            self._close()
            self._out.fail(error)

    # -- whole answers

    def _reply(self, body: bytes) -> None:
        try:
            status, body = self._retell(self._status, body)
        except BadAnswer as error:
            self._give_up(_bad(str(error)))
            return
        except Exception as error:  # a bug of ours must not leave the request open
            self._report(error)
            return
        self._close()
        out = self._out.head(status, [_JSON, *self._headers])
        if body:
            out.write(body)
        out.finish()

    def _retell(self, status: int, body: bytes) -> tuple[int, bytes]:
        if not _is_good(status):
            return self._translation.error(status, body)
        try:
            return status, self._translation.answer(body)
        except Failed as error:
            raise BadAnswer("an error object under status 200") from error

    # -- streams

    def _open_stream(self, wanted: bytes, given: bytes) -> None:
        if given.split(b";", 1)[0].strip().lower() != wanted:
            self._give_up(_bad("no event stream where one was asked for"))
            return
        self._stream = self._translation.stream()
        self._out = self._out.head(200, [_EVENTS, *self._headers])

    def _pass_on(self, stream: StreamTranslator, data: bytes) -> None:
        events = self._tell(lambda: stream.feed(data))
        if events:
            self._out.write(events)

    def _tell(self, step: Callable[[], bytes]) -> bytes | None:
        """What a step of the translation gives; None: it broke the stream off."""
        try:
            return step()
        except BadAnswer as error:
            self._break_off(error)
        except Exception as error:  # a bug of ours must not leave the request open
            self._report(error)
        return None

    def _end_stream(self, stream: StreamTranslator) -> None:
        events = self._tell(stream.end)
        if events is None:
            return
        self._close()
        if events:
            self._out.write(events)
        if stream.complete:
            self._out.finish()
        else:  # an end that nobody announced is no end: a client must not take it for one
            self._out.fail(UpstreamError(Cause.DISCONNECTED, Moment.BODY, "the stream ended before the answer did"))

    # -- ends

    def _break_off(self, error: BadAnswer) -> None:
        """The stream went wrong behind events that were right."""
        if error.told:
            self._out.write(error.told)
        self._give_up(UpstreamError(Cause.BAD_ANSWER, Moment.BODY, str(error)))

    def _report(self, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "a translation failed", "exception": error})
        self._give_up(_bad("an answer that could not be translated"))

    def _give_up(self, error: UpstreamError) -> None:
        handle = self.handle
        self._close()
        self._out.fail(error)
        if handle is not None:
            handle.cancel()

    def _close(self) -> None:
        self._over = True
        self.let_go()

    def let_go(self) -> None:
        """Gives memory back, and leaves the cycle with the call whose Sink this is."""
        self.handle = self._collected = None
        if self._size:
            self._budget.release(self._size)
            self._size = 0


def _refuse(unsent: HttpCall, sink: Sink, error: Refused) -> None:
    """Answers a request that was not sent, as the provider would refuse it."""
    if unsent.over:
        return
    unsent.cancel()
    body = error_body(str(error), "invalid_request_error", "unsupported_parameter", error.param)
    out = sink.head(400, [_JSON])
    out.write(body)
    out.finish()


def _bad(detail: str) -> UpstreamError:
    return UpstreamError(Cause.BAD_ANSWER, Moment.HEAD, detail)


def _is_good(status: int) -> bool:
    return 200 <= status < 300


def _is_coded(headers: list[Header]) -> bool:
    return any(name == b"content-encoding" and value.lower() not in (b"", b"identity") for name, value in headers)


def _ident(fields: bytes) -> str:
    """What the request is called by: the value of its x-request-id, reduced to letters and digits."""
    value = fields.partition(b"x-request-id: ")[2].partition(b"\r\n")[0]
    return bytes(byte for byte in value.removeprefix(b"req_") if chr(byte).isalnum()).decode("ascii", "ignore")
