"""One run of one scenario: servers up, swarm out, report in, judgement.

Owns the processes of a run, from start to end. Does not judge (`slo`). Concurrency: one event loop; scenarios run one
after the other.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from loadtest.locust.order import Order, Report
from loadtest.locust.scenarios import Scenario
from loadtest.locust.slo import Judgement, judge
from loadtest.programs import ROOT, Mock, Node, cpu_seconds, settings_text

START = 2.5
"""Seconds that the processes of a run take to start and to end, on a busy machine."""
SHORTEST = 2.0
"""Seconds of load below which a scenario is not run."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A judged scenario and what it cost."""

    judgement: Judgement
    seconds: float
    """In which talks began."""
    gateway_cpu: float
    """CPU of the gateway's workers, seconds."""


class Servers(msgspec.Struct, frozen=True):
    """A model server for the direct way, one behind the gateway, and the gateway."""

    direct: Mock
    behind: Mock
    node: Node


@asynccontextmanager
async def servers(scenario: Scenario, door: str) -> AsyncIterator[Servers]:
    """Starts the servers of a scenario on free ports and ends them. Raises RuntimeError when one does not start."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        direct, behind = [await Mock.serve(*scenario.mock_options) for _ in range(2)]
        stack.push_async_callback(direct.stop)
        stack.push_async_callback(behind.stop)
        settings = folder / "fastpath.yaml"
        settings.write_text(settings_text(door, [behind.url], f"log: {{access: {str(folder / 'access.jsonl')!r}}}"))
        node = await Node.serve(settings)
        stack.push_async_callback(node.stop)
        yield Servers(direct, behind, node)


async def swarm(order: Order) -> Report:
    """Carries an order out in a Locust process. Raises RuntimeError when that process fails."""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "loadtest.locust.swarm"]
    child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        out, errors = await child.communicate(msgspec.json.encode(order))
    finally:
        if child.returncode is None:
            child.kill()
    if child.returncode != 0:
        raise RuntimeError(f"the swarm failed: {errors.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(out, type=Report)


async def hold(scenario: Scenario, door: str, wall: float, seed: int) -> Result:
    """Runs a scenario in about `wall` seconds. Raises ValueError when that is too short."""
    seconds = wall - START - scenario.tail
    if seconds < SHORTEST:
        raise ValueError(f"{scenario.name} needs {START + scenario.tail + SHORTEST:.1f} s, {wall:.1f} are given")
    async with servers(scenario, door) as started:
        order = Order(
            scenario=scenario.name,
            seconds=seconds,
            seed=seed,
            direct=started.direct.port,
            gateway=started.node.port,
        )
        report = await swarm(order)
        cpu = cpu_seconds(started.node.workers())
    return Result(judgement=judge(scenario, report), seconds=seconds, gateway_cpu=cpu)
