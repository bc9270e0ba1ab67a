"""The Locust runs as they are: one that holds, one whose gateway is slow, one whose gateway breaks answers.

Locust patches the standard library, so it runs in a process of its own and is never imported here.
"""

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtest.faultd import AnyRule, Cut, FaultProxy, Latency
from loadtest.locust.__main__ import shares, status
from loadtest.locust.course import Result, servers, swarm
from loadtest.locust.order import Order
from loadtest.locust.scenarios import SCENARIOS
from loadtest.locust.slo import Judgement, Verdict, judge
from loadtest.programs import ROOT
from scheduler.clock import SystemClock

pytestmark = pytest.mark.alone

runs_locust = pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="the extra `loadtest` is missing")
SCENARIO = SCENARIOS["cancels"]


@runs_locust
async def test_the_command_holds_and_says_so(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    options = ["--seconds", "7", "--scenario", "cancels", "--output", str(output)]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtest.locust", *options, cwd=ROOT, stdout=pipe, stderr=pipe
    )
    out, errors = await child.communicate()
    assert child.returncode in (0, 3), (out, errors)  # 3: the machine was too noisy to judge latencies
    (result,) = msgspec.json.decode(output.read_bytes(), type=list[Result])
    found = result.judgement
    assert found.verdict.value in out.decode()
    for way in (found.direct, found.gateway):
        assert (way.turns > 100, way.errors) == (True, 0)
        assert 0.2 < way.left / way.turns < 0.5
    assert result.gateway_cpu > 0


async def run_behind(rules: list[AnyRule]) -> Judgement:
    """Two seconds of a scenario with a fault proxy in front of the gateway."""
    async with servers(SCENARIO, "native") as started:
        proxy = FaultProxy(("127.0.0.1", started.node.port), SystemClock())
        port = await proxy.start()
        proxy.set_rules(rules)
        order = Order(scenario=SCENARIO.name, seconds=2, seed=1, direct=started.direct.port, gateway=port)
        try:
            return judge(SCENARIO, await swarm(order))
        finally:
            await proxy.close()


@runs_locust
async def test_a_planted_slowdown_is_a_miss() -> None:
    """300 ms: more than a busy machine adds to the direct way, which would make it void."""
    found = await run_behind([Latency(mean_ms=300)])
    assert found.verdict == Verdict.MISSED
    assert found.gateway.errors == 0
    assert any(reason.startswith("TTFT p50") for reason in found.reasons)


@runs_locust
async def test_planted_errors_are_a_miss() -> None:
    found = await run_behind([Cut(after_events=3, probability=0.2)])
    assert found.verdict == Verdict.MISSED
    assert found.gateway.errors > 0
    assert "broken" in found.reasons[0]
    assert found.direct.errors == 0


def test_a_swarm_that_fails_is_no_verdict() -> None:
    order: Any = Order(scenario="nobody-knows", seconds=1, seed=1, direct=1, gateway=1)
    with pytest.raises(RuntimeError, match="the swarm failed"):
        asyncio.run(swarm(order))


def test_the_time_is_shared_out() -> None:
    parts = shares(list(SCENARIOS.values()), 60)
    assert sum(parts.values()) == pytest.approx(60)
    assert parts["mooncake"] - parts["azure"] == pytest.approx(SCENARIOS["mooncake"].tail - SCENARIOS["azure"].tail)


def test_the_exit_status() -> None:
    def results(*verdicts: Verdict) -> list[Any]:
        made = [Judgement(scenario="s", verdict=one, reasons=[], direct=None, gateway=None) for one in verdicts]  # type: ignore[arg-type]  # the status looks at verdicts only
        return [Result(judgement=one, seconds=1, gateway_cpu=0) for one in made]

    assert status(results(Verdict.HELD, Verdict.HELD)) == 0
    assert status(results(Verdict.HELD, Verdict.VOID)) == 3
    assert status(results(Verdict.MISSED, Verdict.VOID)) == 1
