"""What these suites share: the loop they run on, a bench per test and door, and a model server that says raw bytes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from loadtest.rig.bench import Served
from loadtest.rig.doors import DOORS, DoorBench

PATIENCE = 30.0


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Workers run on uvloop."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever starts a gateway runs once per door."""
    if "door" in metafunc.fixturenames:
        metafunc.parametrize("door", DOORS, scope="session")


class Quiet:
    """Whether a gateway is at rest: nothing in flight, nothing reserved, no connection in use."""

    def __init__(self, served: Served) -> None:
        self._app = served.gateway.app

    def facts(self) -> dict[str, Any]:
        assert self._app is not None
        runtime = self._app._runtime
        backends = [*self._app._backends.values(), *self._app._retired]
        return {
            "deliveries": len(runtime.deliveries),
            "models": sum(running.count for running in runtime.running.values()),
            "slots": sum(runtime.table.in_flight),
            "memory": runtime.budget._used,
            "calls": sum(len(backend.calls) for backend in backends),
            "reading": len(getattr(self._app._door, "reading", ())),
        }

    async def wait(self) -> None:
        """Returns when it is; callbacks of closed sockets may still be on their way."""
        try:
            async with asyncio.timeout(PATIENCE):
                while any(self.facts().values()):
                    await asyncio.sleep(0.001)
        except TimeoutError:
            raise AssertionError(f"never at rest: {self.facts()}") from None


class Peer(asyncio.Protocol):
    """One connection of a raw model server."""

    def __init__(self, server: "RawServer") -> None:
        self._server = server
        self.received = b""
        self.ended = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._server.peers.append(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._server.news.set()
        if self._server.answer is not None and self._server.whole(self.received):
            self._server.requests.append(self.received)
            self.received = b""
            self.transport.write(self._server.answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._server.news.set()


class RawServer:
    """Says `answer` to each request (None: nothing) and keeps what it received."""

    def __init__(self) -> None:
        self.answer: bytes | None = None
        self.requests: list[bytes] = []
        self.peers: list[Peer] = []
        self.news = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        self.listener = await asyncio.get_running_loop().create_server(lambda: Peer(self), "127.0.0.1", 0)
        self.port = self.listener.sockets[0].getsockname()[1]

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self.news.clear()
                await self.news.wait()

    @staticmethod
    def whole(data: bytes) -> bool:
        """Whether a whole request is there."""
        head, found, body = data.partition(b"\r\n\r\n")
        if not found:
            return False
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if b"transfer-encoding" in fields:
            return body.endswith(b"0\r\n\r\n")
        return len(body) >= int(fields.get(b"content-length", b"0"))

    def close(self) -> None:
        self.listener.close()
        for peer in self.peers:
            peer.transport.abort()


@pytest.fixture
async def bench(door: str) -> AsyncIterator[DoorBench]:
    async with DoorBench(door) as bench:
        yield bench


@pytest.fixture
def quiet() -> type[Quiet]:
    return Quiet


@pytest.fixture
async def raw() -> AsyncIterator[RawServer]:
    server = RawServer()
    await server.start()
    yield server
    server.close()
