"""Real processes: one of three model servers is killed, stopped, or slowed five-fold under a steady load.

Nobody fails, traffic moves, and it comes back. Judged by the access log: which endpoint answered whom, and when.
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.resilience.acts import FACTOR, Happened
from loadtest.resilience.load import Visit, keep_asking
from loadtest.resilience.stage import SETTINGS, TTFT, Stage

RATE = 50.0


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


async def test_F02_kill_9_of_one_of_three_at_50_a_second_fails_nobody_and_moves_the_traffic(stage: Stage) -> None:
    visits, act = await during(stage, 6.0, stage.servers[0].program.stop(signal.SIGKILL))
    assert problems(visits) == []
    assert len(visits) == 300
    assert share_of(stage, "e0", act.begin - 1.0, act.begin) > 0.2
    assert share_of(stage, "e0", act.begin + 2.0, act.begin + 4.5) < 0.05
    await stage.servers[0].start()
    visits = await keep_asking(stage.node.port, RATE, 8.0)
    assert problems(visits) == []
    assert share_of(stage, "e0", time.time() - 2.0, time.time()) > 0.2, "it is back"


async def test_F03_a_stopped_one_of_three_fails_nobody_and_loses_its_traffic(stage: Stage) -> None:
    async def stop() -> None:
        stage.servers[0].program.send(signal.SIGSTOP)

    visits, act = await during(stage, 7.0, stop())
    stage.servers[0].program.send(signal.SIGCONT)
    assert problems(visits) == []
    assert share_of(stage, "e0", act.begin + 2.0, act.begin + 5.0) < 0.2 / 3 + 0.03


async def test_F05_slowed_five_fold_it_loses_four_fifths_in_ten_seconds_and_has_them_back_in_sixty(
    stage: Stage,
) -> None:
    visits, act = await during(stage, 9.0, stage.servers[0].script({"ttft": FACTOR * TTFT}))
    assert problems(visits) == []
    assert share_of(stage, "e0", act.begin + 3.0, act.begin + 7.5) < 0.2 / 3 + 0.02
    await stage.servers[0].script()
    back = time.time()
    while share_back(stage, back) < 0.25:
        assert time.time() - back < 60
        assert problems(await keep_asking(stage.node.port, RATE, 2.0)) == []


def share_back(stage: Stage, since: float) -> float:
    """Of the last two seconds, once they are over."""
    now = time.time()
    return share_of(stage, "e0", now - 2.0, now) if now - since > 2.0 else 0.0
