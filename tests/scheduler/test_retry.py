"""The retry budget (a share of the last ten seconds and a few) and back-off with jitter."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.clock import ManualClock
from scheduler.retry import RetryBudget, backoff


def spend_all(budget: RetryBudget) -> int:
    count = 0
    while budget.spend():
        count += 1
    return count


@pytest.mark.parametrize(
    ("requests", "allowed"),
    [
        (0, 3),
        (5, 3),
        (9, 3),
        (10, 4),
        (100, 13),
        (1005, 103),
    ],
)
def test_a_tenth_and_three(requests: int, allowed: int) -> None:
    budget = RetryBudget(0.1, 3, ManualClock())
    for _ in range(requests):
        budget.request()
    assert spend_all(budget) == allowed


def test_the_window_rolls() -> None:
    clock = ManualClock()
    budget = RetryBudget(0.1, 3, clock)
    for _ in range(100):
        budget.request()
    assert spend_all(budget) == 13
    clock.advance(5)
    assert not budget.spend()
    clock.advance(5)
    assert spend_all(budget) == 3, "requests and retries of ten seconds ago count no more"
    clock.advance(1_000_000)
    assert spend_all(budget) == 3


@given(st.lists(st.tuples(st.sampled_from(["request", "spend", "wait"]), st.floats(0, 4)), max_size=300))
def test_never_more_in_any_window(steps: list[tuple[str, float]]) -> None:
    """Counted independently: whenever a retry is allowed, the seconds that the budget looks at hold few enough."""
    clock = ManualClock(monotonic=0.0)
    budget = RetryBudget(0.1, 3, clock)
    requests: list[int] = []
    retries: list[int] = []
    for step, seconds in steps:
        second = int(clock.monotonic())
        if step == "wait":
            clock.advance(seconds)
        elif step == "request":
            budget.request()
            requests.append(second)
        elif budget.spend():
            retries.append(second)
            recent = [at for at in retries if at > second - 10]
            assert len(recent) <= 0.1 * len([at for at in requests if at > second - 10]) + 3


def test_no_retries_when_told_so() -> None:
    budget = RetryBudget(0.0, 0, ManualClock())
    budget.request()
    assert not budget.spend()


@given(st.integers(0, 20), st.floats(0, 10), st.floats(0, 60), st.integers())
def test_backoff_stays_below_its_doubling_bound(attempt: int, base: float, ceiling: float, seed: int) -> None:
    delay = backoff(attempt, base, ceiling, random.Random(seed).random)
    assert 0 <= delay <= min(ceiling, base * 2**attempt)


def test_backoff_is_spread_over_the_whole_interval() -> None:
    delays = [backoff(1, 0.1, 1.0, random.Random(seed).random) for seed in range(1000)]
    assert min(delays) < 0.02
    assert max(delays) > 0.18
    assert 0.09 < sum(delays) / len(delays) < 0.11
