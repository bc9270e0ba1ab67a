"""A native door on real sockets, with a clock that only tests move, and callers of it."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from _native.transport import Poller
from fastpath.door.native import NativeDoor
from fastpath.settings import Listen, Tls
from scheduler.clock import ManualClock

HEAD = b"GET / HTTP/1.1\r\nhost: g\r\n\r\n"
PATIENCE = 30.0

#: Modules whose subject must work on uvloop, which workers run, and on a program's own asyncio loop.
ON_BOTH_LOOPS = ("test_accept.py", "test_native_door.py", "test_overload.py")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    plain: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    return plain | {"uvloop": uvloop.new_event_loop} if item.path.name in ON_BOTH_LOOPS else plain


async def until(true: Callable[[], object]) -> None:
    """Waits for something that no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.005)


@dataclass
class Caller:
    """One connection to the door."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes = HEAD) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        """The head of the next answer, whose body is empty."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def ask(self) -> bytes:
        self.send()
        return await self.head()

    async def rest(self) -> bytes:
        """All bytes until the door ends the connection."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    @property
    def name(self) -> Any:
        return self.writer.get_extra_info("sockname")

    def leave(self) -> None:
        self.writer.close()


@dataclass
class Front:
    """A door that answers 200 at once, or when `release` is called while it is `holding`."""

    listener: socket.socket
    clock: ManualClock
    random: list[float]
    door: NativeDoor | None
    holding: bool = False
    held: list[Any] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    shed: list[tuple[str, str]] = field(default_factory=list)

    def begin(self, exchange: Any) -> None:
        self.peers.append(exchange.peer)
        if self.holding:
            self.held.append(exchange)
        else:
            exchange.reply(200, [], b"")

    def release(self) -> None:
        self.holding = False
        for exchange in self.held:
            exchange.reply(200, [], b"")
        self.held.clear()

    async def call(self, tls: ssl.SSLContext | None = None) -> Caller:
        address = self.listener.getsockname()
        name = "localhost" if tls is not None else None
        if isinstance(address, str):
            found = await asyncio.open_unix_connection(address)
        else:
            found = await asyncio.open_connection(*address[:2], ssl=tls, server_hostname=name)
        self.callers.append(Caller(*found))
        return self.callers[-1]

    def tick(self, seconds: float = 0.1) -> None:
        self.clock.advance(seconds)
        self.door.sweep(self.clock.monotonic())


OpenFront = Any


@pytest.fixture(params=["ours", "the-loops"])
async def poller(request: pytest.FixtureRequest) -> AsyncIterator[Poller | None]:
    """On whose transports: ours, as in a worker, or the loop's, as TLS is."""
    poller = Poller(asyncio.get_running_loop()) if request.param == "ours" else None
    yield poller
    if poller is not None:
        poller.close()


@pytest.fixture
async def open_front(poller: Poller | None) -> AsyncIterator[OpenFront]:
    """`await open_front(listener=None, **listen)`: a native door under these settings, on a free port otherwise."""
    fronts: list[Front] = []

    async def begin(listener: socket.socket | None = None, stall: float = 5.0, **listen: Any) -> Front:
        listener = listener or socket.create_server(("127.0.0.1", 0), backlog=128)
        clock, random = ManualClock(), [0.5]

        def malformed(error: Any, peer: str) -> Any:
            return [], b""

        front = Front(listener, clock, random, None)
        front.door = NativeDoor(
            front.begin, malformed, Listen(**listen), clock, lambda: random[0], poller, front.shed.extend
        )
        await front.door.start(listener, stall)
        fronts.append(front)
        return front

    yield begin
    for front in fronts:
        for caller in front.callers:
            caller.leave()
        front.door.stop_accepting()
        front.door.close()
        front.listener.close()
        front.tick(1.0)
        async with asyncio.timeout(PATIENCE):
            await front.door.stopped()


@dataclass
class Certificate:
    """A certificate for localhost, and what a caller needs to trust it."""

    settings: Tls
    trusting: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder: Path = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    cert, key = folder / "cert.pem", folder / "key.pem"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(cert), append=True)
    issued.private_key_pem.write_to_path(str(key))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return Certificate(Tls(cert=str(cert), key=str(key)), trusting)
