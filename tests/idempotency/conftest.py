"""What these suites share: a gateway with two tenants' keys before one mock, and requests with an idempotency key."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fastpath.settings import Endpoint, Idempotency, Key, Model
from fastpath.settings.pepper import make_pepper
from fastpath.settings.tenancy import Limit, ModelPrice, Tenant, User
from fastpath.settings.token import KeyHasher, new_token
from loadtest.rig import Reply, Upstream, post
from loadtest.rig.bench import Served, make_settings
from loadtest.rig.doors import DoorBench
from tests.gateway.conftest import pytest_asyncio_loop_factories, pytest_generate_tests

__all__ = ["pytest_asyncio_loop_factories", "pytest_generate_tests"]

PRICE = ModelPrice(input=2.5, output=10.0, cached=1.25)
#: Tenant and user of each key.
CALLERS: dict[str, tuple[str, str | None]] = {
    "ann": ("acme", "ann"),
    "ann-2": ("acme", "ann"),
    "bob": ("acme", "bob"),
    "cat": ("bolt", "ann"),
    "robot": ("acme", None),
}
TENANTS = (
    Tenant(name="acme", users=(User(name="ann"), User(name="bob"))),
    Tenant(name="bolt", users=(User(name="ann"),)),
)


class World:
    """A gateway before one mock. Requests are for the model `llama`, under the key of a caller."""

    def __init__(self, served: Served, upstream: Upstream, tokens: dict[str, str], state: Path) -> None:
        self.served = served
        self.upstream = upstream
        self.tokens = tokens
        self.folder = state / "idempotency"

    def request(
        self,
        key: str | None,
        fault: dict[str, Any] | None = None,
        *,
        caller: str = "ann",
        text: str = "hello",
        headers: tuple[tuple[str, str], ...] = (),
        path: str = "/v1/chat/completions",
        **more: Any,
    ) -> bytes:
        body: dict[str, Any] = {"model": "llama", "messages": [{"role": "user", "content": text}], **more}
        fields = (*headers, *((("Idempotency-Key", key),) if key is not None else ()))
        return post(body if fault is None else body | {"mock": fault}, path, key=self.tokens[caller], headers=fields)

    async def ask(self, key: str | None, fault: dict[str, Any] | None = None, **more: Any) -> Reply:
        return await self.served.ask(self.request(key, fault, **more))

    async def settle(self) -> None:
        """Returns when all answers are written and no request runs."""
        app = self.served.gateway.app
        assert app is not None
        store = app._runtime.idempotency
        assert store is not None
        async with asyncio.timeout(30):
            while store._work or app._runtime.deliveries:
                await asyncio.sleep(0.001)

    def counted(self, result: str) -> int:
        """What the metric says of it."""
        counters = self.served.gateway.metrics.snapshot().counters
        return int(counters.get("fastpath_idempotency_total", {}).get((result,), 0))

    async def record(self) -> Any:
        """The record of the latest finished request."""
        return (await self.served.records.wait(len(self.served.records.all)))[-1]


Open = Callable[..., Awaitable[World]]


@pytest.fixture
async def bench(door: str) -> AsyncIterator[DoorBench]:
    async with DoorBench(door) as bench:
        yield bench


@pytest.fixture
def open_world(bench: DoorBench, tmp_path: Path) -> Open:
    """`open_world(idempotency=Idempotency(...), limits=..., state=..., tokens=...)`."""

    async def open_world(
        *,
        limits: tuple[Limit, ...] = (),
        tokens: dict[str, str] | None = None,
        upstream: Upstream | None = None,
        state: Path | None = None,
        idempotency: Idempotency | None = None,
        **more: Any,
    ) -> World:
        upstream = upstream or await bench.mock()
        tokens = tokens or {name: new_token().reveal() for name in CALLERS}
        state = state or tmp_path / "state"
        hasher = KeyHasher(make_pepper(state))
        keys = tuple(
            Key(
                name=name,
                hash=hasher.hash_text(tokens[name]),
                limits=limits if name == "ann" else (),
                tenant=tenant,
                user=user,
            )
            for name, (tenant, user) in CALLERS.items()
        )
        endpoints = (Endpoint(url=upstream.url, tier="L1"),)
        settings = make_settings(
            [Model(name="llama", endpoints=endpoints, price=PRICE)],
            keys=keys,
            tenants=TENANTS,
            state_dir=str(state),
            idempotency=idempotency or Idempotency(keys=1024),
            **more,
        )
        return World(await bench.serve(settings), upstream, tokens, state)

    return open_world
