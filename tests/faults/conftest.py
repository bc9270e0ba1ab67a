"""What the fault suites share: the loop they run on, and a bench and gateway processes behind every door.

Every row runs on every door. The exceptions are in ONE_DOOR: rows that are over before a caller's bytes or an answer's
touch a door (where is the model server, who is it), so that a second run would test the same code again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from loadtest.rig.doors import DOORS, DoorBench, doors_of

#: Files whose rows are purely about the model servers' side.
ONE_DOOR = {"test_dns.py", "test_moving.py"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Workers run on uvloop, so the faults do too."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever starts a gateway runs once per door."""
    if "door" in metafunc.fixturenames:
        doors = DOORS[-1:] if metafunc.definition.path.name in ONE_DOOR else DOORS
        metafunc.parametrize("door", doors, scope="session")


@pytest.fixture
async def bench(door: str) -> AsyncIterator[DoorBench]:
    """Gateways in this process; each is seen to have the door."""
    async with DoorBench(door) as bench:
        yield bench


@pytest.fixture
def gateway_process(launch: Any, door: str) -> Callable[..., Any]:
    """Gateways in processes of their own: `gateway_process(settings, environ)`; each is seen to have the door."""

    def start(settings: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Any:
        listen = {"door": door, **settings.get("listen", {})}
        node = launch.gateway({**settings, "listen": listen}, environ)
        assert doors_of(worker.pid for worker in node.children()) == {listen["door"]}
        return node

    return start
