"""A scripted TCP target for the fault proxy, the proxy in front of it, and the loops its tests run on."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from loadtest.faultd import ConnectionRecord, FaultProxy
from scheduler.clock import SystemClock


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The proxy must work on both loops; everything else here runs on asyncio's."""
    both = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return both if item.path.name == "test_proxy.py" else {"asyncio": asyncio.new_event_loop}


class Target:
    """Answers each connection with `answer` after the first bytes came; keeps what it received."""

    def __init__(self) -> None:
        self.answer = b""
        self.hold = False
        """Whether to keep the connection open behind the answer until the caller leaves."""
        self.received: list[bytes] = []
        self.errors: list[OSError] = []
        self.done: asyncio.Queue[bytes] = asyncio.Queue()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        try:
            data = await reader.read(65536)
            writer.write(self.answer)
            await writer.drain()
            while self.hold and (more := await reader.read(65536)):
                data += more
        except OSError as error:
            self.errors.append(error)
        finally:
            self.received.append(data)
            self.done.put_nowait(data)
            writer.close()


class Bench:
    """A target with a proxy in front."""

    def __init__(self) -> None:
        self.target = Target()
        self.logged: asyncio.Queue[ConnectionRecord] = asyncio.Queue()
        self.proxy: FaultProxy
        self.port = 0

    async def start(self) -> None:
        await self.target.start()
        self.proxy = FaultProxy(("127.0.0.1", self.target.port), SystemClock(), self.logged.put_nowait)
        self.port = await self.proxy.start()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: bytes = b"hello") -> bytes:
        """Sends, reads to the end. Raises ConnectionResetError when the connection was reset."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.start()
    yield bench
    await bench.proxy.close()
    bench.target.close()
