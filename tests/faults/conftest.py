"""What the fault suites share: the loop they run on and a bench per test."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from loadtest.rig import Bench


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Workers run on uvloop, so the faults do too."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench() as bench:
        yield bench
