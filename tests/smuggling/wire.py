"""Raw bytes to a gateway over many connections at once, and what came back on each.

Owns the client's sockets. No HTTP is made here: what is sent is what the case says, byte for byte. Answers are read by
the rig's own reader. Single loop.
"""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any, cast

from loadtest.rig.reply import Reply, ReplyReader

#: Without any byte for so long, nothing more is expected. Longer than the gateway waits for the rest of a body, and it
#: waits longer than the two halves of a request lie apart on a busy machine (0.4 s was not enough).
QUIET = 2.5
CLIENT_BODY = 2.0
PATIENCE = 30.0


@dataclass
class Shot:
    """One connection: `raw` sent to `port` (in two pieces when `cut` says where), and what came of it. closed: by the
    gateway; garbage: bytes that are no answer."""

    port: int
    raw: bytes
    cut: int = 0
    methods: tuple[str, ...] = ()
    replies: list[Reply] = field(default_factory=list)
    closed: bool = False
    garbage: str = ""

    @property
    def statuses(self) -> tuple[int, ...]:
        return tuple(reply.status for reply in self.replies)


class Link(asyncio.Protocol):
    """The connection of one shot. `heard` is called with every event."""

    def __init__(self, shot: Shot, heard: "Hearing") -> None:
        self._shot = shot
        self._heard = heard
        self._reader = ReplyReader()
        for method in shot.methods:
            self._reader.expect(method)
        self.transport: asyncio.Transport | None = None
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard.at = time.monotonic()
        try:
            self._reader.feed(data)
        except ValueError as error:
            self._shot.garbage = str(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard.at = time.monotonic()
        self._reader.eof()
        self.ended = True

    def finish(self) -> None:
        """Writes down what came, and leaves."""
        self._shot.closed = self.ended
        self._shot.replies = self._reader.done
        self._shot.garbage = self._shot.garbage or self._reader.rest.decode("latin-1")
        assert self.transport is not None
        self.transport.abort()


class Hearing:
    """When anything was last heard on any connection of a volley."""

    def __init__(self) -> None:
        self.at = time.monotonic()


async def fire(shots: list[Shot], admin_ports: list[int], at_once: int = 600) -> None:
    """Sends all shots, `at_once` connections at a time, and fills in what came back. admin_ports: of the gateways,
    which are asked whether anything still runs before silence counts as the end."""
    for start in range(0, len(shots), at_once):
        await _volley(shots[start : start + at_once], admin_ports)


async def _volley(shots: list[Shot], admin_ports: list[int]) -> None:
    hearing = Hearing()
    links = [Link(shot, hearing) for shot in shots]
    throttle = asyncio.Semaphore(64)

    async def begin(link: Link, shot: Shot) -> None:
        async with throttle:
            await asyncio.get_running_loop().create_connection(lambda: link, "127.0.0.1", shot.port)
        assert link.transport is not None
        if shot.cut:
            link.transport.write(shot.raw[: shot.cut])
            await asyncio.sleep(0.02)
        link.transport.write(shot.raw[shot.cut :])

    await asyncio.gather(*map(begin, links, shots))
    hearing.at = time.monotonic()
    deadline = hearing.at + PATIENCE
    while not all(link.ended for link in links):
        assert time.monotonic() < deadline, "connections do not come to rest"
        await asyncio.sleep(0.02)
        quiet = time.monotonic() - hearing.at > QUIET
        if quiet and not any([await in_flight(port) for port in admin_ports]):
            break
    for link in links:
        link.finish()


async def in_flight(admin_port: int) -> list[Any]:
    """The gateway's requests in flight."""
    reader, writer = await asyncio.open_connection("127.0.0.1", admin_port)
    writer.write(b"GET /debug/requests HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    found: Any = json.loads(answer.partition(b"\r\n\r\n")[2])
    return cast(list[Any], found if isinstance(found, list) else found["requests"])


def cut_somewhere(raw: bytes, seed: str) -> int:
    """Where to send `raw` in two pieces."""
    return random.Random(seed).randrange(1, len(raw))
