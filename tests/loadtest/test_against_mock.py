"""Driver, proxy and checker together, with the mock model server as the upstream and no gateway between."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from backends.mock import MockOptions, MockServer
from loadtest.checker import responses
from loadtest.checker.history import ClientLine, History, MockLine, read_lines
from loadtest.driver import Load, run
from loadtest.faultd import AnyRule, Cut, Duplicate, FaultProxy, Slice
from scheduler.clock import SystemClock


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "mock.jsonl"


async def run_through(log: Path, rules: list[AnyRule], load: dict[str, float]) -> History:
    """Sends 150 requests through a proxy under `rules`; returns what both sides logged."""
    clock = SystemClock()
    with log.open("wb") as file:
        server = MockServer(MockOptions(models=("llama",), rate=2000.0), clock, file)
        proxy = FaultProxy(("127.0.0.1", await server.start()), clock)
        port = await proxy.start()
        proxy.set_rules(rules, seed=1)
        try:
            target = {"target": f"http://127.0.0.1:{port}/v1", "n": 150}
            clients = await run(msgspec.convert(target | load, Load), clock)
            await drained(proxy)
        finally:
            await proxy.close()
            await server.close()
    return History(clients=clients, mock=read_lines(log, MockLine), proxy=proxy.connections)


async def drained(proxy: FaultProxy) -> None:
    async with asyncio.timeout(30):
        while proxy.open:
            await asyncio.sleep(0.005)


async def test_a_harmless_path_with_cancels_holds_j7(log: Path) -> None:
    history = await run_through(
        log, [Slice(size=40)], {"cancel_ratio": 0.4, "stream_ratio": 0.7, "cancel_wait_s": 0.005}
    )
    assert responses.check(history) == []
    outcomes = {line.outcome for line in history.clients}
    assert outcomes == {"complete", "cancelled"}
    assert {line.closed_by for line in history.mock} == {"done", "client"}
    assert "" not in history.attempts_by_tag()
    assert all(line.closed is not None for line in history.proxy)


async def test_a_path_that_doubles_bytes_breaks_j7(log: Path) -> None:
    history = await run_through(log, [Duplicate(offset=600, length=300, connections=(2,))], {"stream_ratio": 1.0})
    assert responses.check(history)


async def test_a_path_that_cuts_streams_breaks_j7(log: Path) -> None:
    history = await run_through(log, [Cut(after_events=3, probability=0.5)], {"stream_ratio": 1.0})
    cut: list[ClientLine] = [line for line in history.clients if line.outcome == "cut"]
    assert cut
    found = {violation.record for violation in responses.check(history)}
    assert found == {f"client {line.tag}" for line in cut}
    assert all(line.events <= 3 for line in cut)
