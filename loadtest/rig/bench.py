"""A gateway in this process, mock model servers behind it, and the records it leaves.

Owns starting and stopping them; everything runs on the test's loop. `async with Bench() as bench`.
"""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgspec

from backends.mock import Fault, MockOptions, MockServer
from fastpath.app import Gateway
from fastpath.record import DecisionRecord
from fastpath.settings import Endpoint, Limits, Listen, Model, Retries, Settings, Timeouts
from loadtest.faultd import FaultProxy
from loadtest.rig.conversation import PATIENCE, Conversation
from loadtest.rig.reply import Reply
from scheduler.clock import Clock, SystemClock

#: Nothing may be waited for long in a test; rows override what they are about.
TIMEOUTS = Timeouts(connect=1.0, first_byte=5.0, idle=5.0, total=10.0, comment_after=5.0)
MOCK = MockOptions(models=("llama",), tokens=4)
RETRIES = Retries(backoff=0.001, backoff_max=0.002, budget_min=1_000_000)


class RecordList:
    """Finished records, newest last."""

    def __init__(self) -> None:
        self.all: list[DecisionRecord] = []
        self._news = asyncio.Event()

    def put(self, record: DecisionRecord) -> None:
        self.all.append(record)
        self._news.set()

    async def wait(self, count: int) -> list[DecisionRecord]:
        """All records once there are `count`."""
        async with asyncio.timeout(PATIENCE):
            while len(self.all) < count:
                self._news.clear()
                await self._news.wait()
        return self.all


@dataclass
class Upstream:
    """A mock and its address."""

    server: MockServer
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, *faults: Fault, times: int | None = None) -> None:
        self.server.script(faults, times=times)

    @property
    def asked(self) -> int:
        """Requests that reached it, running ones included."""
        return len(self.server.records) + len(self.server.live)


class Served:
    """A running gateway."""

    def __init__(self, gateway: Gateway, records: RecordList) -> None:
        self.gateway = gateway
        self.records = records
        self.port = int(gateway.url.removesuffix("/v1").rpartition(":")[2])

    @property
    def in_flight(self) -> list[dict[str, Any]]:
        assert self.gateway.app is not None
        return self.gateway.app.debug_requests()

    async def open(self, receive_buffer: int | None = None) -> Conversation:
        return await Conversation.open(self.port, receive_buffer=receive_buffer)

    async def ask(self, request: bytes) -> Reply:
        """One request on its own connection, its whole reply."""
        client = await self.open()
        try:
            return await client.ask(request)
        finally:
            client.leave()

    async def ask_on(self, client: Conversation, request: bytes) -> tuple[Conversation, Reply]:
        """One request on a kept connection, or on a new one when the gateway closed it behind its last answer.

        Returns the connection to go on with as well.
        """
        try:
            return client, await client.ask(request)
        except ConnectionError:
            client = await self.open()
            return client, await client.ask(request)


class Bench:
    """Starts what a test asks for and ends it all."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def mock(
        self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0, **options: Any
    ) -> Upstream:
        """A mock model server; four tokens, the model `llama` unless the options say otherwise."""
        server = MockServer(msgspec.structs.replace(MOCK, **options), SystemClock())
        port = await server.start(host=host, port=port, tls=tls)
        self._stack.push_async_callback(server.close)
        return Upstream(server, port)

    async def proxy(self, target: int) -> tuple[FaultProxy, int]:
        """A fault proxy in front of a port."""
        proxy = FaultProxy(("127.0.0.1", target), SystemClock())
        port = await proxy.start()
        self._stack.push_async_callback(proxy.close)
        return proxy, port

    async def gateway(self, *urls: str, ca_file: str | None = None, model: str = "llama", **settings: Any) -> Served:
        """A gateway whose only model has one endpoint per URL, tried in this order (weights fall steeply)."""
        endpoints = tuple(
            Endpoint(url=url, name=f"e{i}", tier="L1", weight=1000 ** (len(urls) - 1 - i), ca_file=ca_file)
            for i, url in enumerate(urls)
        )
        made = make_settings((Model(name=model, endpoints=endpoints),), **settings)
        return await self.serve(made)

    async def pair(self, *faults: Fault, **settings: Any) -> tuple[Served, Upstream, Upstream]:
        """A gateway before a first mock with these faults and a second, sound one."""
        first, second = await self.mock(), await self.mock()
        if faults:
            first.script(*faults)
        return await self.gateway(first.url, second.url, **settings), first, second

    async def single(self, *faults: Fault, **settings: Any) -> tuple[Served, Upstream]:
        """A gateway before one mock with these faults."""
        upstream = await self.mock()
        upstream.script(*faults)
        return await self.gateway(upstream.url, **settings), upstream

    async def serve(self, settings: Settings, clock: Clock | None = None) -> Served:
        records = RecordList()
        gateway = Gateway(settings, records, clock)
        await self._stack.enter_async_context(gateway)
        return Served(gateway, records)


def make_settings(
    models: Sequence[Model],
    *,
    timeouts: dict[str, float] | None = None,
    limits: dict[str, int] | None = None,
    listen: dict[str, Any] | None = None,
    **rest: Any,
) -> Settings:
    """Settings with short waits; the dictionaries change single fields of what is the same for all tests."""
    return Settings(
        listen=Listen(**({"port": 0, "drain": 0.2} | (listen or {}))),
        models=tuple(models),
        timeouts=msgspec.structs.replace(TIMEOUTS, **(timeouts or {})),
        limits=Limits(**(limits or {})),
        retries=rest.pop("retries", RETRIES),
        **rest,
    )
