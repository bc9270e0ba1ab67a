"""Real processes: one of three model servers is killed, stopped, or slowed five-fold under a steady load.

Nobody fails, traffic moves, and it comes back. Judged by the access log: which endpoint answered whom, and when. What
was measured is in the report of the run (`--junit-xml`).
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from loadtest.resilience.acts import FACTOR, Happened
from loadtest.resilience.load import Visit, keep_asking
from loadtest.resilience.stage import SERVERS, SETTINGS, TTFT, Stage

pytestmark = pytest.mark.alone  # judged by the clock, with requests that come by it

RATE = 50.0
#: Seconds after its recovery in which an endpoint has its share again.
BACK_WITHIN = 60.0

Report = Callable[[str, object], None]


@pytest.fixture
async def stage(door: str, tmp_path: Path) -> AsyncIterator[Stage]:
    settings = (*SETTINGS, "health: {slow_start: 2}")
    async with Stage(tmp_path, door, settings) as stage:
        await keep_asking(stage.node.port, RATE, 3.0)
        yield stage


def lines_of(stage: Stage) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stage.access.read_text().splitlines()]


def share_of(stage: Stage, endpoint: str, begin: float, end: float) -> float:
    """Of the requests that came between these moments, those that the endpoint answered or was asked first."""
    lines = [line for line in lines_of(stage) if begin <= line["ts"] < end]
    hit = [line for line in lines if line["endpoint"] == endpoint or endpoint in str(line.get("failures"))]
    assert lines
    return len(hit) / len(lines)


def problems(visits: list[Visit]) -> list[str]:
    return [visit.problem for visit in visits if visit.problem]


async def during(stage: Stage, seconds: float, act: Any) -> tuple[list[Visit], Happened]:
    """The load, and an act that begins when the load has run a second."""

    async def later() -> Happened:
        await asyncio.sleep(1.0)
        begin = time.time()
        await act
        return Happened("act", 0, begin, time.time())

    async with asyncio.TaskGroup() as tasks:
        load = tasks.create_task(keep_asking(stage.node.port, RATE, seconds))
        acting = tasks.create_task(later())
    return load.result(), acting.result()


@pytest.mark.parametrize("killed", range(SERVERS))
async def test_F02_kill_9_of_one_of_three_at_50_a_second_fails_nobody_and_moves_the_traffic(
    stage: Stage, killed: int, record_property: Report
) -> None:
    """Three times, each with processes of its own and another of the three that dies."""
    server, name = stage.servers[killed], f"e{killed}"
    visits, act = await during(stage, 4.5, server.program.stop(signal.SIGKILL))
    record_property("requests", len(visits))
    record_property("failed", problems(visits))
    assert problems(visits) == []
    assert len(visits) == 225
    assert share_of(stage, name, act.begin - 1.0, act.begin) > 0.2
    assert share_of(stage, name, act.begin + 2.0, act.begin + 3.4) < 0.05
    await server.start()
    record_property("back after, s", await seconds_until_back(stage, name, 0.2))


async def test_F03_a_stopped_one_of_three_fails_nobody_and_loses_its_traffic(stage: Stage) -> None:
    async def stop() -> None:
        stage.servers[0].program.send(signal.SIGSTOP)

    visits, act = await during(stage, 7.0, stop())
    stage.servers[0].program.send(signal.SIGCONT)
    assert problems(visits) == []
    assert share_of(stage, "e0", act.begin + 2.0, act.begin + 5.0) < 0.2 / 3 + 0.03


async def test_F05_slowed_five_fold_it_loses_four_fifths_in_ten_seconds_and_has_them_back_in_sixty(
    stage: Stage, record_property: Report
) -> None:
    visits, act = await during(stage, 9.0, stage.servers[0].script({"ttft": FACTOR * TTFT}))
    assert problems(visits) == []
    usual = share_of(stage, "e0", act.begin - 3.0, act.begin)
    gone = 1 - share_of(stage, "e0", act.begin + 3.0, act.begin + 7.5) / usual
    record_property("share of its traffic that is gone", round(gone, 3))
    assert usual > 0.25
    assert gone >= 0.8
    await stage.servers[0].script()
    record_property("back after, s", await seconds_until_back(stage, "e0", 0.25))


async def seconds_until_back(stage: Stage, endpoint: str, share: float) -> float:
    """Keeps asking until the endpoint has so much of two seconds' traffic again. Fails where a caller fails, or after a
    minute."""
    begin = time.time()
    while time.time() - begin < BACK_WITHIN:
        since = time.time()
        assert problems(await keep_asking(stage.node.port, RATE, 2.0)) == []
        if share_of(stage, endpoint, since, since + 2.0) > share:
            return round(time.time() - begin, 1)
    pytest.fail(f"{endpoint} is not back after {BACK_WITHIN} s")
