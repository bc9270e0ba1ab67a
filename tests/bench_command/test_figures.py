"""Percentiles, the SLO, and the verdict on the generator."""

import random
from array import array

import pytest

from fastpath.bench.figures import Histogram, Summary, percentile, summarise
from fastpath.bench.result import Goal, generator_of, goodput_of
from fastpath.bench.slo import Slo, SloError, parse_slo
from fastpath.bench.tally import Outcome, Tally


def test_percentiles_are_interpolated() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert percentile([7.0], 0.99) == 7.0
    found = summarise([4.0, 1.0, 3.0, 2.0])
    assert (found.count, found.mean, found.min, found.max, found.p50) == (4, 2.5, 1.0, 4.0, 2.5)
    assert summarise([]) == Summary() == Histogram().summary()


def test_the_histogram_is_within_its_error_of_the_exact_percentiles() -> None:
    chance = random.Random(5)
    times = [chance.lognormvariate(-4.6, 1.0) for _ in range(20_000)]
    histogram = Histogram()
    for time in times:
        histogram.add(time)
    found, exact = histogram.summary(), summarise(times)
    assert (found.count, found.min, found.max) == (exact.count, exact.min, exact.max)
    assert found.mean == pytest.approx(exact.mean)
    for name in ("p50", "p90", "p99"):
        assert getattr(found, name) == pytest.approx(getattr(exact, name), rel=0.006)


def test_the_histogram_counts_events_that_came_together_as_no_time() -> None:
    histogram = Histogram()
    for time in (0.0, 0.0, 0.0, 1.0):
        histogram.add(time)
    found = histogram.summary()
    assert (found.min, found.p50, found.max) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("ttft=200ms", Slo(ttft=0.2)),
        ("ttft=200ms,tpot=30ms", Slo(ttft=0.2, tpot=0.03)),
        (" e2e = 1.5s , ttft=0.5s", Slo(e2e=1.5, ttft=0.5)),
    ],
)
def test_limits_are_read_with_their_units(text: str, slo: Slo) -> None:
    found = parse_slo(text)
    assert (found.ttft, found.tpot, found.e2e) == pytest.approx((slo.ttft, slo.tpot, slo.e2e))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ttft=200", "needs a unit: ms or s"),
        ("ttft", "not NAME=TIME"),
        ("", "not NAME=TIME"),
        ("ttft=-1ms", "not NAME=TIME"),
        ("speed=1s", "'speed' is not measured"),
        ("ttft=1s,ttft=2s", "ttft is there twice"),
    ],
)
def test_what_is_no_limit_is_refused(text: str, said: str) -> None:
    with pytest.raises(SloError, match=said):
        parse_slo(text)


def outcome(ttft: float, *, wait: float = 0.0, tpot: float | None = 0.01, error: str | None = None) -> Outcome:
    return Outcome(0, 1.0, 1.0 + wait, 1, 5, 5, ttft, tpot, ttft + 0.1, error=error)


def test_goodput_counts_from_when_a_request_was_due_and_never_a_failure() -> None:
    tally = Tally(0.0)
    tally.outcomes = [
        outcome(0.1),
        outcome(0.1, wait=0.5),  # quick, but it had stood in the generator
        outcome(0.1, tpot=0.09),
        outcome(0.1, tpot=None),  # one token: no time between tokens
        outcome(0.1, error="http_500"),
    ]
    found = goodput_of(Goal(parse_slo("ttft=200ms,tpot=50ms"), 0.4), tally, 4.0)
    assert (found.good, found.share, found.requests_per_s, found.met) == (2, 0.4, 0.5, True)
    assert goodput_of(Goal(parse_slo("ttft=200ms,tpot=50ms"), 0.41), tally, 4.0).met is False
    assert goodput_of(Goal(parse_slo("e2e=1s")), tally, 4.0).met is None
    assert goodput_of(Goal(parse_slo("e2e=1s"), 0.5), Tally(0.0), 4.0).met is False


@pytest.mark.parametrize("lag", ["schedule_lag", "loop_lag"])
def test_a_generator_that_comes_late_is_too_slow(lag: str) -> None:
    tally = Tally(0.0)
    assert not generator_of(tally).too_slow
    setattr(tally, lag, array("d", [0.001] * 100))
    assert not generator_of(tally).too_slow
    setattr(tally, lag, array("d", [0.001] * 90 + [0.05] * 10))
    assert generator_of(tally).too_slow
