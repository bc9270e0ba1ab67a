"""What pickers do to callers, in virtual time: engines of different speed, eight workers, bursts of long prompts."""

from collections import Counter
from random import Random

import pytest

from tests.scheduler.fleet import Arrival, Engine, Fleet, Sent, quantile

SPEEDS = (8_000.0, 4_000.0, 4_000.0, 2_000.0)
SECONDS = 120.0


def bursts(seed: int, load: float = 0.6) -> list[Arrival]:
    """Poisson arrivals of chats, and every few seconds a burst of prompts of 32,000 tokens; `load` of what all read."""
    random, now, found = Random(seed), 1.0, []
    every = 3 * 32_000 / (load / 2 * sum(SPEEDS))
    rate = load / 2 * sum(SPEEDS) / 1_000
    next_burst = 2.0
    while now < SECONDS:
        now += random.expovariate(rate)
        if now >= next_burst:
            found += [Arrival(next_burst + number * 0.002, 32_000) for number in range(3)]
            next_burst += every * random.uniform(0.5, 1.5)
        found.append(Arrival(now, random.randint(200, 1_800)))
    return sorted(found)


def run(picker: str, arrivals: list[Arrival]) -> list[Sent]:
    return Fleet([Engine(speed) for speed in SPEEDS], picker).run(arrivals, SECONDS * 2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("other", ["least_in_flight", "round_robin", "random", "power_of_two", "peak_ewma"])
def test_the_last_hundredth_waits_least_by_cost(seed: int, other: str) -> None:
    arrivals = bursts(seed)
    ours, theirs = run("least_cost", arrivals), run(other, arrivals)
    assert len(ours) == len(theirs) == len(arrivals)
    assert quantile(ours, 0.99) <= quantile(theirs, 0.99)
    assert quantile(ours, 0.5) <= quantile(theirs, 0.5) * 1.05


def test_no_herd_between_polls() -> None:
    """Long prompts come within one tick, while every worker knows the same old facts: they spread all the same."""
    engines = [Engine(4_000.0) for _ in range(4)]
    arrivals = [Arrival(1.55 + number * 0.001, 32_000) for number in range(32)]
    sent = Fleet(engines, "least_cost", workers=1, poll=10.0).run(arrivals, 20.0)
    assert Counter(each.engine for each in sent) == dict.fromkeys(range(4), 8)


def test_no_herd_of_eight_workers() -> None:
    """Each knows its own at once and the others' after a tick: nobody gets more than twice its share."""
    engines = [Engine(4_000.0) for _ in range(4)]
    arrivals = [Arrival(1.0 + number * 0.05, 32_000) for number in range(64)]
    sent = Fleet(engines, "least_cost", poll=10.0).run(arrivals, 20.0)
    found = Counter(each.engine for each in sent)
    assert max(found.values()) <= 20
    assert min(found.values()) >= 12


def test_idle_ties_spread_evenly() -> None:
    """One short request every ten seconds: never always the first."""
    engines = [Engine(4_000.0) for _ in range(4)]
    arrivals = [Arrival(1.0 + number * 10.0, 100) for number in range(400)]
    sent = Fleet(engines, "least_cost", workers=1).run(arrivals, 4_000.0)
    assert Counter(each.engine for each in sent) == dict.fromkeys(range(4), 100)


def test_an_engine_that_says_nothing_more_is_not_left_out() -> None:
    """Its samples stop with a full queue; it is read from then on, and what is sent is known."""
    engines = [Engine(4_000.0) for _ in range(3)]
    fleet = Fleet(engines, "least_cost", workers=2)
    for table in fleet.tables:
        table.load.note(2, 1.0, 40_000.0, 0.99, 4_000.0)
    engines[2].polled = False
    random = Random(2)
    arrivals = [Arrival(1.0 + number * 0.1, random.randint(200, 1_800)) for number in range(1_200)]
    found = Counter(each.engine for each in fleet.run(arrivals, 130.0) if each.arrival.at > 60.0)
    assert found[2] / found.total() > 0.25


def test_shares_follow_the_speeds_under_load() -> None:
    """With a little more to do than all can: within a tenth of what each can. With less, the fast ones take more."""
    random = Random(4)
    now, arrivals = 1.0, []
    while now < SECONDS:
        now += random.expovariate(1.05 * sum(SPEEDS) / 1_000)
        arrivals.append(Arrival(now, random.randint(500, 1_500)))
    found: Counter[int] = Counter()
    for each in run("least_cost", arrivals):
        found[each.engine] += each.arrival.tokens
    for engine, speed in enumerate(SPEEDS):
        assert found[engine] / found.total() == pytest.approx(speed / sum(SPEEDS), rel=0.1)


def test_all_is_given_back() -> None:
    fleet = Fleet([Engine(speed) for speed in SPEEDS], "least_cost")
    fleet.run(bursts(9), SECONDS * 2)
    for table in fleet.tables:
        assert list(table.tokens) == [0.0] * 4
        assert list(table.in_flight) == [0] * 4
