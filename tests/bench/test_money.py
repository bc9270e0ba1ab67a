"""Verdicts of the money suite: what is a bounded backlog, a quiet neighbour's loss, a ratio."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import pytest

from bench.money import backlog, neighbour, stopped
from bench.money.__main__ import course_of, parse, ratio_of
from bench.money.backlog import Course, Look
from bench.money.house import Backlog, House
from bench.money.race import Round
from bench.slo.client import Answered, OpenLoop
from bench.stage.callers import Load

MIB = 1 << 20
Answers = Callable[..., Answered]


def look(at: float, segments: float, lag: float = 0.5) -> Look:
    size = int(segments * MIB)
    return Look(at, Backlog(size, size, lag, 0, 0, 0, 0, ""))


def course(answered: Answered, segments: list[float], **fields: float) -> Course:
    looks = [look(at, size) for at, size in enumerate(segments)]
    return msgspec.structs.replace(Course(10.0, 10.0, answered, looks, 0.2), **fields)


def test_a_backlog_that_stays_has_a_bound(answered: Answers) -> None:
    assert backlog.misses(course(answered(), [16.0] * 9)) == []
    assert backlog.misses(course(answered(), [8, 24, 16, 8, 24, 16, 8, 24, 16])) == []


@pytest.mark.parametrize(
    ("fields", "segments", "found"),
    [
        ({}, [8.0 * n for n in range(1, 10)], "segments grow: 40 MiB in the middle of the run, 64 at its end"),
        ({"drained_s": 61.0}, [16.0] * 9, "61.0 s to catch up"),
        ({"rate": 20.0}, [16.0] * 9, "only 100 requests were offered"),
    ],
)
def test_one_that_grows_or_stays_behind_has_none(
    answered: Answers, fields: dict[str, float], segments: list[float], found: str
) -> None:
    (miss,) = backlog.misses(course(answered(), segments, **fields))
    assert found in miss


def test_answers_that_were_lost_and_books_that_lag_are_told(answered: Answers) -> None:
    late = course(answered(refused=1, broken=2), [])
    late.looks.append(look(1.0, 16.0, lag=31.0))
    assert backlog.misses(late) == [
        "3 of 100 requests were not answered",
        "the books were 31.0 s behind, at most 30",
    ]


def pair(answered: Answers, alone: float, beside: float, loud: int = 100) -> neighbour.Pair:
    def at(p95: float) -> Answered:
        found = answered()
        return msgspec.structs.replace(found, latency=msgspec.structs.replace(found.latency, p95=p95))

    return neighbour.Pair(at(alone), at(beside), answered(ok=loud, refused=900))


def test_a_neighbour_may_notice_a_tenth(answered: Answers) -> None:
    pairs = [pair(answered, 1.0, rise) for rise in (1.0, 1.09, 2.0)]
    assert neighbour.added_of(pairs) == pytest.approx(0.09)
    assert neighbour.misses(pairs, 1.0, 0.1) == []
    (miss,) = neighbour.misses([pair(answered, 1.0, 1.2)], 1.0, 0.1)
    assert miss == "the quiet tenant's p95 rose by 20.0%, at most 10% may be"


def test_a_loud_tenant_that_gets_more_and_a_quiet_one_that_is_refused_are_told(answered: Answers) -> None:
    assert neighbour.misses([pair(answered, 1.0, 1.0, loud=225)], 1.0, 0.1) == [
        "the loud tenant got 225 answers, at most 224 may be"
    ]
    refused = pair(answered, 1.0, 1.0)
    refused = msgspec.structs.replace(refused, beside=msgspec.structs.replace(refused.beside, refused=1))
    (miss,) = neighbour.misses([refused], 1.0, 0.1)
    assert miss == "the quiet tenant, beside: 1 of 100 requests were not answered"


def halt(answered: Answers, running: float, still: float, refused: int = 0) -> stopped.Pair:
    return stopped.Pair(answered(p99=running), msgspec.structs.replace(answered(p99=still), refused=refused))


def test_a_redis_that_stands_still_may_cost_so_many_milliseconds(answered: Answers) -> None:
    pairs = [halt(answered, 1.0, later) for later in (1.0, 50.9, 300.0)]
    assert stopped.added_of(pairs) == pytest.approx(49.9)
    assert stopped.misses(pairs, 50.0) == []
    (miss,) = stopped.misses([halt(answered, 1.0, 52.0)], 50.0)
    assert miss == "with Redis stopped the p99 rose by 51.0 ms, at most 50 may be"
    (miss,) = stopped.misses([halt(answered, 1.0, 1.0, refused=2)], 50.0)
    assert miss == "Redis stopped: 2 of 100 requests were not answered"


class Scene:
    """A gateway, its Redis and their callers, who write down what happens to them, one after the other."""

    def __init__(self, answered: Answered) -> None:
        self.seen: list[str] = []
        self.subject = self
        self.port = 0
        self._answered = answered
        self._stopped = threading.Event()

    def stop(self) -> None:
        self.seen.append("stop")
        self._stopped.set()

    def go_on(self) -> None:
        self.seen.append("go on")
        self._stopped.clear()

    def status(self) -> str:
        return "degraded" if self._stopped.is_set() else "ready"

    def run(self, *_: object) -> Answered:
        """The second client is there until Redis is stopped."""
        self.seen.append("ask")
        if self.seen.count("ask") == 2:
            assert self._stopped.wait(30)
        self.seen.append("answered")
        return self._answered


def test_callers_are_there_when_redis_is_stopped(answered: Answers) -> None:
    scene = Scene(answered())
    house, redis, client = cast(House, scene), cast(stopped.Redis, scene), cast(OpenLoop, scene)
    stopped.measure_pair(house, redis, client, Load(Path(), Path()), 1.0, first_running=True)
    assert scene.seen == ["ask", "answered", "ask", "stop", "answered", "go on"]


def test_ratios_are_medians_of_rounds() -> None:
    rounds = [Round(10.0, 12.0 * n, 20.0 * n, 1, 0.1) for n in (1, 1, 3)]
    assert ratio_of(rounds, "workers") == pytest.approx(1.2)
    assert ratio_of(rounds, "family") == pytest.approx(2.0)


def test_rate_and_duration_are_the_callers() -> None:
    given = course_of(parse(["--part", "backlog", "--rate", "123", "--seconds", "7"]))
    assert (given.rate, given.seconds) == (123.0, 7.0)
    assert (course_of(parse([])).rate, course_of(parse([])).seconds) == (5_000.0, 600.0)
