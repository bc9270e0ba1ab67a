"""The memory budget's count and its two marks."""

import pytest

from fastpath.observe.budget import LARGE, MemoryBudget

LIMIT = 10_000_000


def test_reserve_takes_until_the_limit_and_release_gives_back() -> None:
    budget = MemoryBudget(100)
    assert budget.reserve(60)
    assert budget.reserve(40)
    assert not budget.reserve(1)
    assert budget.used == 100
    budget.release(30)
    assert budget.used == 70
    assert budget.reserve(30)


def test_large_bodies_are_refused_at_80_percent_and_all_at_90() -> None:
    budget = MemoryBudget(LIMIT)
    assert budget.reserve(8_000_000 - LARGE - 1)
    assert budget.admits(LARGE + 1)
    assert not budget.admits(LARGE + 2)
    assert budget.admits(LARGE)
    assert budget.reserve(9_000_000 - 10 - budget.used)
    assert not budget.admits(LARGE + 1)
    assert budget.admits(10)
    assert not budget.admits(11)


def test_running_requests_may_use_what_admission_keeps_back() -> None:
    budget = MemoryBudget(LIMIT)
    assert budget.reserve(9_500_000)
    assert not budget.admits(1)
    assert budget.reserve(1)


def test_releasing_more_than_reserved_is_an_error() -> None:
    budget = MemoryBudget(10)
    assert budget.reserve(5)
    with pytest.raises(ValueError, match="released 6"):
        budget.release(6)
    assert budget.used == 5


def test_a_budget_needs_bytes() -> None:
    with pytest.raises(ValueError):
        MemoryBudget(0)
