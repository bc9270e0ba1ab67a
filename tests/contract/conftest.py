"""The doors under contract, each behind a running gateway with a mock model server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop

from loadtest.rig import Bench, Upstream
from loadtest.rig.bench import Served

#: Every door that carries an Exchange. A new one joins by its name here.
DOORS = ("granian", "native")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Workers run on uvloop, so the contract does too."""
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Door:
    """One door, the gateway behind it and the model server behind that."""

    name: str
    served: Served
    upstream: Upstream


OpenDoor = Callable[..., Awaitable[Door]]


@pytest.fixture(params=DOORS)
async def open_door(request: pytest.FixtureRequest) -> AsyncIterator[OpenDoor]:
    """`await open_door(timeouts={...}, limits={...}, listen={...})`: the door under other settings."""
    async with Bench() as bench:

        async def begin(listen: dict[str, Any] | None = None, mock: dict[str, Any] | None = None, **rest: Any) -> Door:
            upstream = await bench.mock(**(mock or {}))
            served = await bench.gateway(upstream.url, listen={"door": request.param} | (listen or {}), **rest)
            return Door(request.param, served, upstream)

        yield begin


@pytest.fixture
async def door(open_door: OpenDoor) -> Door:
    """The door under settings of no interest, but for a small body limit."""
    return await open_door(limits={"json_body": 256 * 1024})
