"""Sends one answer: the head, then a body or events at their times, struck by the faults that fall on the way.

Concurrency: used by one turn. Raises EndedError where the script ends the connection, and fills in the record as bytes
leave.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from backends.mock.answers.answer import Answer
from backends.mock.fault import Fault
from backends.mock.outlet import EndedError, Outlet
from backends.mock.pacing import Pace, wait_until
from backends.mock.record import Record
from backends.mock.request import Request
from backends.mock.response import Body, Head, Mode, interim_head, interim_statuses, plain_mode, stream_mode
from backends.mock.sse import SSE, Event, comment, distort, mark_last, render, render_line
from backends.mock.tokens import digest
from scheduler.clock import Clock

HTML = b"<html><head><title>Error</title></head><body><h1>An error occurred</h1></body></html>\n"
ERROR_BODIES: Mapping[str, tuple[str, bytes]] = MappingProxyType(
    {"html": ("text/html", HTML), "text": ("text/plain", b"An error occurred\n"), "empty": ("text/plain", b"")}
)
BODILESS = frozenset({204, 304})
BLOCK = 65_536
BREATH = 64
"""Events after which other connections get the loop, however fast this one may send."""


class Sender:
    """Writes one response through an outlet."""

    def __init__(
        self,
        clock: Clock,
        request: Request,
        record: Record,
        outlet: Outlet,
        fault: Fault,
        load_report: Callable[[], str],
    ) -> None:
        self._clock = clock
        self._load_report = load_report
        self._request = request
        self._record = record
        self._outlet = outlet
        self._fault = fault
        self._text: dict[int, list[str]] = {}
        self._sent = hashlib.sha256()

    @property
    def transcript(self) -> dict[int, str]:
        """Text sent so far, per choice."""
        return {choice: "".join(pieces) for choice, pieces in self._text.items()}

    async def send(self, answer: Answer, cached: int, pace: Pace) -> None:
        """Sends a planned answer at the pace of its tokens."""
        if self._record.stream:
            await self._send_stream(answer, cached, pace)
        else:
            await self.send_plain(answer.body(cached), answer.content_type, pace.due(answer.last_step))

    async def send_error(self, status: int, content_type: str, body: bytes) -> None:
        """Sends an error answer now."""
        await self.send_plain(body, content_type, self._clock.monotonic(), status)

    async def send_plain(self, body: bytes, content_type: str, due: float, status: int = 200) -> None:
        """Sends a body that is known whole, at `due`."""
        fault = self._fault
        if fault.bad_json_event == 0:
            body = body[:-2]
        if fault.gzip:
            body = gzip.compress(body, mtime=0)
        mode = plain_mode(fault, self._request.version)
        head = self._head(status, content_type, mode, len(body))
        await self._send_head(head, due)
        framed = Body(self._outlet, mode, fault, compress=False)
        await self._wait(due, framed)
        await self._send_whole(framed, b"" if status in BODILESS else body)

    async def _send_whole(self, framed: Body, body: bytes) -> None:
        await self._obstacle(0, framed)
        sent_at = self._clock.monotonic()
        if body:
            await framed.send(body)
        self._hash(body)
        self._record.note_event(sent_at, 0)
        await self._obstacle(1, framed, at_end=True)
        await self._end(framed)

    async def _send_stream(self, answer: Answer, cached: int, pace: Pace) -> None:
        fault = self._fault
        mode = stream_mode(fault, self._request.version)
        frames = self._frames(answer, cached)
        length = 0
        if mode == "length":
            known = list(frames)
            length = sum(len(frame) for _, frame in known)
            frames = iter(known)
        await self._send_head(self._head(200, answer.stream_type, mode, length), pace.due(0))
        framed = Body(self._outlet, mode, fault, compress=fault.gzip)
        if fault.endless_line:
            await self._wait(pace.due(0), framed)
            await self._send_endless(framed)
        await self._send_events(framed, frames, pace)
        await self._end(framed)

    def _frames(self, answer: Answer, cached: int) -> Iterator[tuple[Event, bytes]]:
        events = distort(answer.events(cached), self._fault, answer.failure)
        shape = render if answer.stream_type == SSE else render_line
        first = True
        for event, last in mark_last(events):
            yield event, shape(event, self._fault, first=first, last=last)
            first = False

    async def _send_events(self, framed: Body, frames: Iterator[tuple[Event, bytes]], pace: Pace) -> None:
        index = 0
        for event, frame in frames:
            await self._obstacle(index, framed, at_end=event.is_done)
            await self._wait(pace.due(event.step), framed)
            sent_at = self._clock.monotonic()
            await framed.send(frame)
            self._hash(frame)
            self._note(event, sent_at)
            index += 1
            if index % BREATH == 0:
                await asyncio.sleep(0)
        await self._obstacle(index, framed, at_end=True)

    def _hash(self, data: bytes) -> None:
        self._sent.update(data)
        self._record.sha256_sent = self._sent.hexdigest()

    def _note(self, event: Event, sent_at: float) -> None:
        self._record.note_event(sent_at, event.tokens)
        self._record.bytes_sent = self._outlet.sent
        if event.content is not None:
            choice, text = event.content
            self._text.setdefault(choice, []).append(text)

    async def _send_endless(self, framed: Body) -> None:
        await framed.send(b"data: ")
        left = self._fault.endless_line
        while left > 0:
            await framed.send(b"x" * min(left, BLOCK))
            left -= BLOCK
            await asyncio.sleep(0)
        raise EndedError(self._fault.how)

    def _head(self, status: int, content_type: str, mode: Mode, length: int) -> bytes:
        fault = self._fault
        head = Head(status, fault)
        head.add("content-type", fault.content_type or content_type)
        name = "request-id" if self._request.path.startswith("/v1/messages") else "x-request-id"
        head.add(name, "req_" + digest("request", self._record.id).hex()[:24])
        if content_type == SSE:
            head.add("cache-control", "no-cache")
        if fault.gzip:
            head.add("content-encoding", "gzip")
        if self._request.header("endpoint-load-metrics-format").upper() == "TEXT":
            head.add("endpoint-load-metrics", self._load_report())
        self._add_retry(head)
        if status not in BODILESS:
            self._add_framing(head, mode, length)
        return head.encode()

    def _add_retry(self, head: Head) -> None:
        if self._fault.retry_after is not None:
            head.add("retry-after", _number(self._fault.retry_after))
        if self._fault.retry_after_ms is not None:
            head.add("retry-after-ms", _number(self._fault.retry_after_ms))

    def _add_framing(self, head: Head, mode: Mode, length: int) -> None:
        if mode == "length":
            head.add("content-length", length + self._fault.short_body)
        elif mode == "chunked":
            head.add("transfer-encoding", "chunked")
        if self._fault.chunked_trailers:
            head.add("trailer", "x-mock-trailer, x-mock-events")
        if mode == "close" or self._request.wants_close:
            head.add("connection", "close")

    async def _send_head(self, head: bytes, due: float) -> None:
        fault = self._fault
        if fault.stall_after == "head":
            raise EndedError("stall")
        if not (fault.early_head or fault.comment_every):
            await wait_until(self._clock, due)
        for status in interim_statuses(fault):
            await self._outlet.write(interim_head(status))
        self._record.status = int(head[9:12])
        await self._outlet.write(head)
        self._record.head_sent = self._clock.monotonic()

    async def _wait(self, due: float, framed: Body) -> None:
        """Waits for `due`, with comments on the way when the fault wants them."""
        every = self._fault.comment_every
        while every and due - self._clock.monotonic() > every:
            await wait_until(self._clock, self._clock.monotonic() + every)
            await framed.send(comment(self._fault))
        await wait_until(self._clock, due)

    async def _obstacle(self, index: int, framed: Body, *, at_end: bool = False) -> None:
        fault = self._fault
        if fault.stall_after == index or (at_end and fault.stall_after == "end"):
            await self._stall(framed)
        if fault.cut_after == index:
            raise EndedError(fault.how)

    async def _stall(self, framed: Body) -> None:
        if self._fault.comment_every and self._record.stream:
            await self._wait(float("inf"), framed)
        raise EndedError("stall")

    async def _end(self, framed: Body) -> None:
        fault = self._fault
        if fault.short_body:
            raise EndedError(fault.how)
        await framed.end()
        if fault.trailing_bytes:
            await self._outlet.write(b"\x00" * fault.trailing_bytes)


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
