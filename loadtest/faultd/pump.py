"""Moves the bytes of one direction from a socket to a socket, under a course of faults.

Owns the delay line between the two. Does not close sockets: it raises `Ended` and the connection does. Concurrency: one
task runs `read`, one runs `write`; at most 16 reads of 16 KiB wait between them, then the source is read no more.
"""

import asyncio
import socket
from typing import Literal

from loadtest.faultd.course import Course
from loadtest.faultd.record import Side, Tally
from scheduler.clock import Clock

READ_BYTES = 16 * 1024
LINE_READS = 16


class Ended(Exception):
    """The connection is over: who ended it, and how both ends shall learn of it."""

    def __init__(self, by: Side, how: Literal["fin", "rst"]) -> None:
        super().__init__(f"{how} by {by}")
        self.by: Side = by
        self.how: Literal["fin", "rst"] = how


class End:
    """A socket with the name of whoever is behind it. `departures` is shared by both ends: who left, in order."""

    __slots__ = ("_departures", "left", "name", "sock")

    def __init__(self, name: Side, sock: socket.socket, departures: list[Side]) -> None:
        self.name: Side = name
        self.sock = sock
        self.left = asyncio.Event()
        self._departures = departures

    def leave(self) -> None:
        """Notes that it sends no more."""
        self.left.set()
        self._departures.append(self.name)


class Pump:
    """One direction of one connection."""

    def __init__(self, source: End, sink: End, course: Course, tally: Tally, clock: Clock) -> None:
        self._source = source
        self._sink = sink
        self._course = course
        self._tally = tally
        self._clock = clock
        self._line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(LINE_READS)
        self._stalled = False

    def stall(self) -> None:
        """Forwards nothing from now on."""
        self._stalled = True

    async def read(self) -> None:
        """Fills the delay line until the source sends FIN. Raises Ended when the source resets."""
        data = b"."
        while data:
            data = await self._receive()
            self._tally.receive(data)
            await self._line.put((self._clock.monotonic() + self._course.delay(), data))

    async def write(self) -> None:
        """Empties the delay line into the sink, then passes the FIN on. Raises Ended when a cut or a reset ends it."""
        while True:
            due, data = await self._line.get()
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
            if not data:
                break
            await self._forward(data)
        await asyncio.sleep(self._course.close_delay())
        await self._hold_if_stalled()
        self._pass_fin()

    async def _receive(self) -> bytes:
        try:
            data = await asyncio.get_running_loop().sock_recv(self._source.sock, READ_BYTES)
        except OSError as error:
            raise Ended(self._source.name, "rst") from error
        if not data:
            self._source.leave()
        return data

    async def _forward(self, data: bytes) -> None:
        passing, how = self._course.cut(self._course.alter(data))
        for piece, pause in self._course.pieces(passing):
            await self._send(piece)
            await asyncio.sleep(pause)
        if how == "stall":
            self.stall()
            await self._hold_if_stalled()
        elif how is not None:
            raise Ended("proxy", how)

    async def _send(self, piece: bytes) -> None:
        await self._hold_if_stalled()
        try:
            await asyncio.get_running_loop().sock_sendall(self._sink.sock, piece)
        except OSError as error:
            raise Ended(self._sink.name, "rst") from error
        self._tally.forward(piece)

    async def _hold_if_stalled(self) -> None:
        if self._stalled:
            await self._sink.left.wait()
            raise Ended(self._sink.name, "fin")

    def _pass_fin(self) -> None:
        try:
            self._sink.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise Ended(self._sink.name, "rst") from error
