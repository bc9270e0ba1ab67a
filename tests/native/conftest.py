"""Both ends of a connection: a transport whose protocol notes what it is told, and a plain socket at the other end.

The transport is ours or the running loop's own, which says what ours must do.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop

from _native.transport import Poller

PATIENCE = 30.0
NONBLOCKING = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
#: Bytes asked of the kernel for a buffer that fills at once; it takes what it holds for the least.
SMALL = 4096


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Workers run on uvloop, embedded gateways on whatever their program has."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Noting(asyncio.Protocol):
    """Notes what it is told. `on` maps the name of a callback to what it does besides; `name` is for the reader."""

    def __init__(self, name: object = "") -> None:
        self.name = name
        self.calls: list[str] = []
        self.data = bytearray()
        self.lost: list[BaseException | None] = []
        self.on: dict[str, Callable[..., Any]] = {}
        self.transport: Any = None
        self._news = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._note("connection_made")

    def data_received(self, data: bytes) -> None:
        assert not self.lost
        self.data += data
        self._note("data_received", data)

    def eof_received(self) -> Any:
        assert not self.lost
        return self._note("eof_received")

    def pause_writing(self) -> None:
        self._note("pause_writing")

    def resume_writing(self) -> None:
        self._note("resume_writing")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)
        self._note("connection_lost", exc)

    def _note(self, name: str, *arguments: object) -> Any:
        self.calls.append(name)
        self._news.set()
        do = self.on.get(name)
        return do(*arguments) if do is not None else None

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._news.clear()
                await self._news.wait()

    async def end(self) -> BaseException | None:
        """What connection_lost was told; that it came once."""
        await self.until(lambda: self.lost)
        await turns(3)
        (reason,) = self.lost
        return reason


class Peer:
    """The other end: a socket that reads and writes only when told to."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._loop.sock_sendall(self.channel, data)

    async def some(self, most: int = 1 << 16) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self._loop.sock_recv(self.channel, most)

    async def exactly(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            data = await self.some(count - len(found))
            assert data, f"it ended after {len(found)} of {count} bytes"
            found += data
        return bytes(found)

    async def rest(self) -> bytes:
        """All bytes until the end; a reset counts as one."""
        found = bytearray()
        try:
            while data := await self.some():
                found += data
        except ConnectionError:
            pass
        return bytes(found)

    def reset(self) -> None:
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.channel.close()


async def turns(count: int) -> None:
    """Lets the loop turn so often."""
    for _ in range(count):
        await asyncio.sleep(0)


def pair(kind: str, small: bool = False) -> tuple[socket.socket, socket.socket]:
    """Two connected non-blocking sockets."""
    if kind == "unix":
        ends = socket.socketpair(socket.AF_UNIX, NONBLOCKING)
    elif kind == "packets":  # each send arrives by itself
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            if small:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            client = socket.create_connection(listener.getsockname())
            ends = (client, listener.accept()[0])
    for end in ends:
        end.setblocking(False)
        if small:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    return ends


Opener = Callable[..., Awaitable[tuple[Any, Noting, Peer]]]


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    poller = Poller(asyncio.get_running_loop())
    yield poller
    poller.close()


@pytest.fixture
async def troubles() -> list[dict[str, Any]]:
    """What the loop's exception handler is told."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: found.append(context))
    return found


@pytest.fixture
async def attach(poller: Poller) -> AsyncIterator[Callable[..., tuple[Any, Noting, Peer]]]:
    """`attach(kind="tcp", small=False, protocol=None)`: one of our transports, its protocol, and its peer."""
    peers: list[Peer] = []

    def begin(kind: str = "tcp", small: bool = False, protocol: Noting | None = None) -> tuple[Any, Noting, Peer]:
        near, far = pair(kind, small)
        protocol = protocol or Noting()
        peers.append(Peer(far))
        return poller.attach(near.detach(), protocol), protocol, peers[-1]

    yield begin
    for peer in peers:
        peer.channel.close()


@pytest.fixture(params=["ours", "the-loops"])
def whose(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["tcp", "unix"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def link(whose: str, kind: str, attach: Callable[..., Any]) -> AsyncIterator[Opener]:
    """`await link(small=False, protocol=None)`: as `attach`, ours and the loop's own, on TCP and on Unix sockets."""
    made: list[tuple[Any, Peer]] = []

    async def begin(small: bool = False, protocol: Noting | None = None) -> tuple[Any, Noting, Peer]:
        if whose == "ours":
            found: tuple[Any, Noting, Peer] = attach(kind, small, protocol)
            return found
        near, far = pair(kind, small)
        protocol = protocol or Noting()
        taken = protocol
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: taken, near)
        made.append((transport, Peer(far)))
        return transport, protocol, made[-1][1]

    yield begin
    for transport, peer in made:
        if not transport.is_closing():
            transport.abort()
        peer.channel.close()
    await turns(2)
