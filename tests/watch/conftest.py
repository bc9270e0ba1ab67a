"""Servers that misbehave on purpose, and a watcher on a real loop."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
import uvloop

from _native.arena import Arena
from _native.transport import Poller
from backends.http.resolver import AresQuery, Resolver
from backends.watch.plan import Polling, Probing, Watched
from backends.watch.report import Report
from backends.watch.watcher import Tools, Watcher
from fastpath.guard.egress import egress
from fastpath.guard.label import NO_DATA
from fastpath.observe.metrics import private_arena
from scheduler.clock import SystemClock

PATIENCE = 30.0


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The watch process runs on uvloop; a gateway in a program on whatever that has."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


class Server:
    """Answers every connection with the bytes of the moment, and keeps what it was asked. b"": says nothing."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self.url = ""
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            if self.answer:
                writer.write(self.answer)
                await writer.drain()
                writer.close()
            else:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    def close(self) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()


def http(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


class Watch:
    """A watcher, its arena and what it counted."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.bugs: list[BaseException] = []
        self._news = asyncio.Event()
        clock = SystemClock()
        self.resolver = Resolver(AresQuery(), clock)
        self.sockets = Poller(asyncio.get_running_loop())
        gate = partial(egress, NO_DATA)
        tools = Tools(arena, self.resolver, self.sockets, clock, random.random, self._count, self._news.set, gate)
        self.watcher = Watcher(tools, self.bugs.append)

    def _count(self, endpoint: str, kind: str, result: str) -> None:
        self.counts[endpoint, kind, str(result)] += 1
        self._news.set()

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._news.clear()
                await self._news.wait()

    def report(self, endpoint: str) -> Report:
        return next(one for one in self.watcher.reports() if one.endpoint == endpoint)

    async def close(self) -> None:
        await self.watcher.close()
        await self.resolver.close()
        self.sockets.close()
        assert not self.bugs


@pytest.fixture
async def watching() -> AsyncIterator[Watch]:
    made = Watch(private_arena())
    yield made
    await made.close()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., object]]:
    servers: list[Server] = []

    async def start(answer: bytes) -> Server:
        servers.append(Server(answer))
        await servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def probed(url: str, endpoint: str = "one", key: str | None = None, **options: object) -> Watched:
    probing = Probing("/v1/models", **{"interval": 0.2, "timeout": 0.3, **options})  # type: ignore[arg-type]  # a test's
    return Watched("m", endpoint, url, api_key=key, probing=probing)


def polled(url: str, page: str | None = None, key: str | None = None) -> Watched:
    polling = Polling("vllm", page or url.removesuffix("/v1") + "/metrics", 0.1, 0.05, 0.3)
    return Watched("m", "one", url, api_key=key, polling=polling)
