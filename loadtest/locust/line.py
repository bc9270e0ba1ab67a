"""A caller's connection: asks one turn, notes when each event came, reads or leaves in the manner the turn says.

Owns one blocking socket, which gevent makes cooperative where it has patched the process. Does not choose turns.
Concurrency: one caller.
"""

import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Literal

import msgspec

from loadtest.driver.answer import Answer
from loadtest.driver.response import Response
from loadtest.faultd.ending import reset
from loadtest.locust.talk import Manner, Turn

Side = Literal["direct", "gateway"]
PATIENCE = 15.0
"""Seconds without a byte after which a turn is an error."""
SLOW_BYTES, SLOW_PAUSE, SLOW_BUFFER = 256, 0.02, 4096
"""A slow reader takes so many bytes, waits so many seconds, and has the kernel hold no more for it."""
_USAGE = re.compile(rb'"prompt_tokens":\s*(\d+)|"cached_tokens":\s*(\d+)')


class Heard(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one turn was like. Times in seconds."""

    side: Side
    manner: Manner
    outcome: Literal["complete", "left", "error"] = "error"
    reason: str = ""
    late: float = 0.0
    """From the moment it was due to the moment it was sent."""
    ttft: float | None = None
    """From sending to the first event."""
    gaps: list[float] = []
    """Between each event and the next."""
    cached: float = 0.0
    """Share of the prompt that the model server had in its cache."""


class Line:
    """At most one connection to `address`, reused while its answers complete."""

    def __init__(self, side: Side, address: tuple[str, int]) -> None:
        self._side = side
        self._address = address
        self._sock: socket.socket | None = None

    def close(self) -> None:
        """Closes the connection, if one is open."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def ask(self, turn: Turn, body: bytes, tag: str, late: float) -> Heard:
        """Carries one turn out; whatever happens is in what it returns."""
        heard = Heard(side=self._side, manner=turn.manner, late=late)
        try:
            self._converse(turn, body, tag, heard)
        except (OSError, ValueError) as error:
            heard.outcome, heard.reason = "error", f"{type(error).__name__}: {error}"
        if heard.outcome != "complete" or turn.manner == "slow":
            self.close()
        return heard

    def _converse(self, turn: Turn, body: bytes, tag: str, heard: Heard) -> None:
        sock = self._connect(turn)
        exchange = _Exchange(heard)
        sock.sendall(_head(tag, len(body)) + body)
        exchange.sent = time.monotonic()
        left = _when_to_leave(turn, exchange)
        while not exchange.over:
            if left(sock):
                self._leave(heard)
                return
            if not exchange.feed(_receive(sock, turn, exchange)):
                break
        exchange.conclude()

    def _connect(self, turn: Turn) -> socket.socket:
        if self._sock is not None and turn.manner != "slow" and _is_quiet(self._sock):
            return self._sock
        self.close()
        sock = self._sock = socket.socket()
        if turn.manner == "slow":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(PATIENCE)
        sock.connect(self._address)
        return sock

    def _leave(self, heard: Heard) -> None:
        assert self._sock is not None
        reset(self._sock)
        self._sock = None
        heard.outcome = "left"


class _Exchange:
    """The answer to one turn as far as it has come."""

    def __init__(self, heard: Heard) -> None:
        self.sent = 0.0
        self.times: list[float] = []
        self._heard = heard
        self._response = Response()
        self._answer: Answer | None = None
        self._usage: list[tuple[bytes, bytes]] = []

    @property
    def over(self) -> bool:
        return self._response.complete

    def feed(self, data: bytes) -> bool:
        """Takes what was read; False at the end of the connection."""
        now = time.monotonic()
        payload = self._response.feed(data)
        if self._response.status is not None:
            self._note(payload, now)
        return bool(data)

    def _note(self, payload: bytes, now: float) -> None:
        if self._answer is None:
            self._answer = Answer(self._response.status or 0, self._response.headers.get("content-type", ""))
        self._answer.feed(payload)
        self.times += [now] * (self._answer.events - len(self.times))
        if b"prompt_tokens" in payload:
            self._usage = _USAGE.findall(payload)

    def conclude(self) -> None:
        """Fills in what was heard. An answer is complete at its own end, with `[DONE]` and no error."""
        heard, answer = self._heard, self._answer
        if self.times:
            heard.ttft = self.times[0] - self.sent
            heard.gaps = [after - before for before, after in pairwise(self.times)]
        if self._response.status != 200 or answer is None:
            heard.reason = f"status {self._response.status}: {answer.error if answer else 'no answer'}"
        elif not self.over or not answer.terminal or answer.error is not None:
            heard.reason = f"broken: {answer.error or 'no end'}"
        else:
            heard.outcome, heard.cached = "complete", self._cached()

    def _cached(self) -> float:
        prompt = next((int(found) for found, _ in self._usage if found), 0)
        cached = next((int(found) for _, found in self._usage if found), 0)
        return cached / prompt if prompt else 0.0


def _receive(sock: socket.socket, turn: Turn, exchange: _Exchange) -> bytes:
    if turn.manner != "slow":
        return sock.recv(65536)
    if exchange.times:
        time.sleep(SLOW_PAUSE)
    return sock.recv(SLOW_BYTES)


def _when_to_leave(turn: Turn, exchange: _Exchange) -> Callable[[socket.socket], bool]:
    if turn.manner == "leave_streaming":
        return lambda _: len(exchange.times) >= turn.leave_after
    if turn.manner == "leave_waiting":
        return lambda sock: _stays_silent(sock, turn.leave_after)
    return lambda _: False


def _stays_silent(sock: socket.socket, seconds: float) -> bool:
    """Waits so long for a byte; then it is time to leave. When one comes before, the caller stays."""
    sock.settimeout(max(seconds, 0.001))
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(PATIENCE)


def _is_quiet(sock: socket.socket) -> bool:
    """Whether an idle connection is still open and silent."""
    sock.settimeout(0)
    with suppress(BlockingIOError):
        sock.recv(1, socket.MSG_PEEK)
        return False
    sock.settimeout(PATIENCE)
    return True


def _head(tag: str, length: int) -> bytes:
    return (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        f"X-Request-Id: {tag}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()
