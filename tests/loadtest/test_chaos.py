"""Chaos: the schedule, what each kind permits, a short storm that must hold, and one whose cut nobody permitted."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from loadtest.chaos.acts import ACTS
from loadtest.chaos.kinds import FLUSH_S, KINDS, LANES, SLACK_S
from loadtest.chaos.run import Order, run
from loadtest.chaos.schedule import CALM_S, Planned, draw
from scheduler.clock import SystemClock


def test_same_seed_same_schedule() -> None:
    assert draw(7, 30) == draw(7, 30)
    assert draw(7, 30) != draw(8, 30)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short, long = draw(3, 10), draw(3, 60)
    assert [one for one in short if one.at < 8] == [one for one in long if one.at < 8]


@pytest.mark.parametrize("lane", LANES)
def test_faults_of_a_lane_follow_each_other(lane: str) -> None:
    mine = [one for one in draw(1, 60) if KINDS[one.kind].lane == lane]
    assert all(one.at + one.lasts < after.at for one, after in pairwise(mine))
    assert mine[-1].at + mine[-1].lasts <= 60 - CALM_S


def test_every_kind_comes_before_one_comes_again() -> None:
    kinds = [one.kind for one in draw(5, 60) if KINDS[one.kind].lane == "upstream"]
    wanted = {name for name, kind in KINDS.items() if kind.lane == "upstream"}
    assert set(kinds[: len(wanted)]) == wanted
    assert {one.kind for one in draw(5, 60)} == set(KINDS)


def test_every_kind_can_be_done() -> None:
    assert set(ACTS) == set(KINDS)


def test_what_only_takes_time_permits_nothing() -> None:
    quiet = {"worker-pause", "mock-pause", "reload", "bad-reload"} | {
        name for name in KINDS if name.endswith(("latency", "slice"))
    }
    assert {name for name, kind in KINDS.items() if not kind.permits(1, 2, "a")} == quiet


def test_only_the_loss_of_model_servers_permits_a_5xx() -> None:
    permits = {name: kind.permits(1, 2, "a") for name, kind in KINDS.items()}
    assert not any(permit.statuses for found in permits.values() for permit in found)
    taking = {name for name, found in permits.items() if any(permit.upstream for permit in found)}
    assert taking == {"mock-kill", "mock-term", "upstream-cut", "upstream-reset", "upstream-refuse"}


def test_a_kill_permits_cuts_from_then_on_and_lost_records_from_before() -> None:
    seen, lost = KINDS["worker-kill"].permits(10.0, 10.1, "")
    assert (seen.begin, seen.end, seen.cuts, seen.unrecorded) == (10.0, 10.1 + SLACK_S, True, False)
    assert (lost.begin, lost.cuts, lost.unrecorded) == (10.0 - FLUSH_S, False, True)


async def test_a_short_storm_holds(tmp_path: Path) -> None:
    outcome = await run(Order(seed=18, seconds=5), tmp_path, SystemClock())
    assert outcome.violations == []
    assert {KINDS[event.planned.kind].lane for event in outcome.events} == set(LANES)
    assert {event.planned for event in outcome.events} == set(draw(18, 5))
    assert {"complete", "cancelled"} <= {line.outcome for line in outcome.clients}
    assert outcome.unexcused > 380  # 360 come before and after the storm


async def test_a_cut_that_nobody_permitted_is_found(tmp_path: Path) -> None:
    kind = msgspec.structs.replace(KINDS["client-cut"], cuts=False)
    planned = Planned(at=0.5, kind="client-cut", lasts=0.5, target=0, seed=1)
    order = Order(seed=1, seconds=2, door="granian", schedule=[planned])
    outcome = await run(order, tmp_path, SystemClock(), {**KINDS, "client-cut": kind})
    assert [event.planned for event in outcome.events] == [planned]
    assert "J7" in {name for name, _ in outcome.violations}
    assert any(line.outcome == "cut" for line in outcome.clients)
