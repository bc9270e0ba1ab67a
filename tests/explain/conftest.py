"""What these tests share: the loop they run on, and a gateway per door with keys of two tenants."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from fastpath.settings import Endpoint, Key, Model, Residency, Tenant
from fastpath.settings.decisions import Decisions
from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher, new_token
from loadtest.rig import post
from loadtest.rig.bench import Served, Upstream, make_settings
from loadtest.rig.doors import DoorBench
from loadtest.rig.reply import Reply
from scheduler.clock import Clock
from tests.gateway.conftest import pytest_asyncio_loop_factories, pytest_generate_tests

__all__ = ["pytest_asyncio_loop_factories", "pytest_generate_tests"]

CANARY = "canary-7f3a of a prompt"


class World:
    """A gateway with records, two tenants, and keys with and without insight."""

    def __init__(self, served: Served, upstream: Upstream, keys: dict[str, str], state: Path) -> None:
        self.served = served
        self.upstream = upstream
        self.keys = keys
        self.state = state

    async def chat(self, key: str, prompt: str = CANARY, *headers: tuple[str, str], **body: Any) -> Reply:
        said = {"model": "llama", "messages": [{"role": "user", "content": prompt}], **body}
        bearer = ("authorization", f"Bearer {self.keys[key]}")
        return await self.served.ask(post(said, headers=[bearer, *headers]))

    async def look(self, key: str, request: str) -> Reply:
        lines = [f"GET /v1/decisions/{request} HTTP/1.1", "host: x", f"authorization: Bearer {self.keys[key]}"]
        return await self.served.ask("\r\n".join([*lines, "connection: close", "", ""]).encode())


Build = Callable[..., Any]


@pytest.fixture
async def bench(door: str) -> AsyncIterator[DoorBench]:
    async with DoorBench(door) as bench:
        yield bench


@pytest.fixture
def build(bench: DoorBench, tmp_path: Path) -> Build:
    """Starts a World: `await build(clock=..., named=..., **decisions)`."""

    async def start(
        clock: Clock | None = None,
        named: bool = True,
        urls: int = 1,
        regions: Sequence[str | None] = (),
        residency: Residency | None = None,
        tier: Literal["L0", "L1", "L2"] = "L1",
        **decisions: Any,
    ) -> World:
        state = tmp_path / "state"
        hasher = KeyHasher(make_pepper(state))
        owners = {"plain": ("acme", False), "seer": ("acme", True), "other": ("globex", True), "alone": (None, False)}
        keys = {name: new_token().reveal() for name in owners}
        upstreams = [await bench.mock() for _ in range(urls)]
        endpoints = tuple(
            Endpoint(
                url=each.url,
                name=f"rack-{i}" if named else None,
                tier=tier,
                version="3.3",
                region=regions[i] if regions else "eu",
                weight=1000 ** (urls - 1 - i),
            )
            for i, each in enumerate(upstreams)
        )
        settings = make_settings(
            [Model(name="llama", endpoints=endpoints)],
            keys=tuple(
                Key(name=name, hash=hasher.hash_text(keys[name]), tenant=tenant, insight=insight)
                for name, (tenant, insight) in owners.items()
            ),
            tenants=(Tenant(name="acme", residency=residency), Tenant(name="globex")),
            state_dir=str(state),
            decisions=Decisions(**{"share": 1.0, **decisions}),
        )
        return World(await bench.serve(settings, clock), upstreams[0], keys, state)

    return start


@pytest.fixture
async def world(build: Build) -> World:
    """With a record of every request."""
    made: World = await build()
    return made
