"""One request and its answer, over a raw socket, with the client leaving when the plan says so.

Owns the connection, which one caller reuses for request after request. Does not choose plans. Concurrency: one task.
"""

import asyncio
import hashlib
import socket
from collections.abc import Awaitable
from typing import TypeVar
from urllib.parse import urlsplit

from loadtest.checker.history import ClientLine, Outcome, Phase
from loadtest.driver.answer import Answer
from loadtest.driver.plan import Load, Plan
from loadtest.driver.response import Response
from loadtest.faultd.ending import reset
from scheduler.clock import Clock

T = TypeVar("T")


class Left(Exception):
    """The client left, as planned, in the phase given."""

    def __init__(self, phase: Phase) -> None:
        super().__init__(phase)
        self.phase: Phase = phase


class Caller:
    """A client with at most one connection."""

    def __init__(self, load: Load, clock: Clock) -> None:
        url = urlsplit(load.target)
        if url.scheme != "http" or url.hostname is None:
            raise ValueError(f"not an http URL: {load.target}")
        self._address = (url.hostname, url.port or 80)
        self._head = _head(f"{url.path.rstrip('/')}/chat/completions", url.netloc, load.key)
        self._timeout_s = load.timeout_s
        self._clock = clock
        self._sock: socket.socket | None = None

    def close(self) -> None:
        """Closes the connection, if one is open."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    async def call(self, plan: Plan) -> ClientLine:
        """Carries a plan out; whatever happens is in the line."""
        exchange = _Exchange(plan)
        started = self._clock.now()
        outcome, phase = await self._outcome(exchange)
        if outcome not in ("complete", "error") or not exchange.response.reusable:
            self.close()
        return exchange.line(outcome, phase, started, self._clock.now())

    async def _outcome(self, exchange: "_Exchange") -> tuple[Outcome, Phase | None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                if not await self._connect():
                    return "unreachable", None
                await self._converse(exchange)
        except Left as left:
            self._leave(exchange.plan)
            return "cancelled", left.phase
        except TimeoutError:
            return "timeout", None
        except (OSError, ValueError):
            return "cut", None  # Reset, or an answer that is no HTTP or no SSE: no answer came to its end.
        return exchange.outcome(), None

    async def _connect(self) -> bool:
        if self._sock is not None and _is_quiet(self._sock):
            return True
        self.close()
        self._sock = socket.socket()
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(self._sock, self._address)
        except OSError:
            return False
        return True

    async def _converse(self, exchange: "_Exchange") -> None:
        assert self._sock is not None
        loop, plan = asyncio.get_running_loop(), exchange.plan
        await loop.sock_sendall(self._sock, self._head % (len(plan.body), plan.tag.encode()) + plan.body)
        if plan.phase == "sent":
            raise Left("sent")
        patience = loop.time() + plan.wait_s if plan.phase in ("waiting", "buffered") else None
        while not exchange.response.complete:
            data = await _before(patience, loop.sock_recv(self._sock, 65536), exchange)
            if not data:
                exchange.response.finish()
                return
            exchange.feed(data)
            exchange.check_leave()
        exchange.response.surplus += len(_peek(self._sock))

    def _leave(self, plan: Plan) -> None:
        if plan.close == "rst" and self._sock is not None:
            reset(self._sock)
            self._sock = None
        self.close()


class _Exchange:
    """The state of one request: what was planned, what came."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.response = Response()
        self.answer: Answer | None = None

    def feed(self, data: bytes) -> None:
        payload = self.response.feed(data)
        if self.response.status is None:
            return
        if self.answer is None:
            self.answer = Answer(self.response.status, self.response.headers.get("content-type", ""))
        self.answer.feed(payload)

    def check_leave(self) -> None:
        """Raises Left when the events planned for have come and the stream goes on."""
        events = self.answer.events if self.answer else 0
        if self.plan.phase in ("waiting", "streaming") and events >= self.plan.events and not self.response.complete:
            raise Left("streaming")

    def outcome(self) -> Outcome:
        if not self.response.complete or self.answer is None:
            return "cut"
        if self.answer.error is not None or (self.response.status or 0) >= 400:
            return "error"
        is_stream = self.response.headers.get("content-type", "").startswith("text/event-stream")
        return "cut" if is_stream and not self.answer.terminal else "complete"

    def line(self, outcome: Outcome, phase: Phase | None, started: float, ended: float) -> ClientLine:
        answer, response = self.answer or Answer(0, ""), self.response
        return ClientLine(
            tag=self.plan.tag,
            stream=self.plan.stream,
            started=started,
            ended=ended,
            outcome=outcome,
            phase=phase,
            status=response.status,
            id=response.headers.get("x-request-id"),
            content_type=response.headers.get("content-type", ""),
            body_sha256=hashlib.sha256(self.plan.body).hexdigest(),
            content=answer.content,
            content_sha256=answer.sha256,
            content_bytes=answer.bytes,
            events=answer.events,
            terminal=answer.terminal,
            after_terminal=answer.after_terminal + response.surplus,
            error=answer.error,
        )


async def _before(patience: float | None, receive: Awaitable[T], exchange: _Exchange) -> T:
    """Awaits; raises Left when the patience (loop time, seconds) ends first, before any event came."""
    limit = asyncio.timeout_at(patience)
    try:
        async with limit:
            return await receive
    except TimeoutError:
        if not limit.expired():
            raise
        raise Left(exchange.plan.phase or "waiting") from None


def _head(path: str, host: str, key: str) -> bytes:
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}".replace("%", "%%")
        + "Content-Type: application/json\r\nContent-Length: %d\r\nX-Request-Id: %b\r\n\r\n"
    ).encode()


def _peek(sock: socket.socket) -> bytes:
    """What has arrived unasked, taken from the socket; nothing when the peer is silent or gone."""
    try:
        return sock.recv(65536)
    except (BlockingIOError, ConnectionError):
        return b""


def _is_quiet(sock: socket.socket) -> bool:
    """Whether an idle connection is still open and silent."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
