"""The way out: every byte of a response passes here, whole or mistreated as the fault says.

Owns segmentation (split, slow_bytes), the byte at which a response is cut, and the ways a connection can end.
Concurrency: one writer at a time; `write` returns when the kernel has taken the bytes (the connection keeps its
write buffer limit at 0), so a segment is on its way before the next one starts.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import cast

from backends.mock.fault import Fault, How
from backends.mock.pacing import wait_until
from scheduler.clock import Clock

DRIP = 0.02
"""Seconds between the pieces of a response that is slowed down."""


class EndedError(Exception):
    """The script ends the connection here; `how` says in which way."""

    def __init__(self, how: How) -> None:
        super().__init__(how)
        self.how: How = how


class Outlet:
    """Writes one response to a transport. Raises EndedError where the fault cuts it."""

    def __init__(
        self, transport: asyncio.Transport, drain: Callable[[], Awaitable[None]], clock: Clock, fault: Fault
    ) -> None:
        self._transport = transport
        self._drain = drain
        self._clock = clock
        self._fault = fault
        self._started: float | None = None
        self.sent = 0

    async def write(self, data: bytes) -> None:
        """Sends `data`; raises EndedError at the fault's `cut_at_byte`."""
        cut = self._fault.cut_at_byte
        if cut is None or self.sent + len(data) < cut:
            await self._send(data)
            return
        await self._send(data[: cut - self.sent])
        raise EndedError(self._fault.how)

    async def _send(self, data: bytes) -> None:
        if self._fault.slow_bytes:
            await self._drip(data)
        elif self._fault.split:
            await self._pieces(data)
        elif data:
            await self._segment(data)

    async def _segment(self, data: bytes) -> None:
        self._transport.write(data)
        self.sent += len(data)
        await self._drain()

    async def _pieces(self, data: bytes) -> None:
        for piece in cut_pieces(data, self._fault.split):
            await self._segment(piece)
            await asyncio.sleep(self._fault.split_pause)

    async def _drip(self, data: bytes) -> None:
        rate = self._fault.slow_bytes
        size = max(1, int(rate * DRIP))
        if self._started is None:
            self._started = self._clock.monotonic()
        for piece in cut_pieces(data, size):
            await wait_until(self._clock, self._started + self.sent / rate)
            await self._segment(piece)


def cut_pieces(data: bytes, split: int | tuple[int, ...]) -> Iterator[bytes]:
    """`data` in pieces of `split` bytes, or cut at the offsets in `split`."""
    marks = range(split, len(data), split) if isinstance(split, int) else sorted(set(split))
    start = 0
    for mark in marks:
        if start < mark < len(data):
            yield data[start:mark]
            start = mark
    if start < len(data):
        yield data[start:]


def hang_up(transport: asyncio.Transport, how: How) -> None:
    """Ends a connection by FIN or RST; "stall" leaves it open."""
    if how == "fin":
        transport.close()
    elif how == "rst":
        _linger_zero(transport)
        transport.abort()


def _linger_zero(transport: asyncio.Transport) -> None:
    sock = cast("socket.socket | None", transport.get_extra_info("socket"))
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
