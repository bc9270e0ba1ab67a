"""Pickers: shares follow the weights whatever the candidates, weight 0 waits until it is alone, ties rotate."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.endpoint import EndpointTable
from scheduler.picker import PICKERS, Picker, least_in_flight, weighted_round_robin

PICKS = 10_000
weights = st.lists(st.integers(0, 1000), min_size=1, max_size=8)


def table_of(weights: Sequence[int]) -> EndpointTable:
    table = EndpointTable()
    for key, weight in enumerate(weights):
        table.slot(key, weight)
    return table


def shares(picker: Picker, table: EndpointTable, slots: Sequence[int], picks: int = PICKS) -> Counter[int]:
    return Counter(picker(table, slots) for _ in range(picks))


@pytest.mark.parametrize("weights", [[1, 1], [3, 1], [5, 3, 2], [100, 1], [7, 7, 7, 7, 7], [1000, 999, 1]])
def test_shares_follow_the_weights(weights: list[int]) -> None:
    found = shares(weighted_round_robin, table_of(weights), range(len(weights)))
    for slot, weight in enumerate(weights):
        assert abs(found[slot] / PICKS - weight / sum(weights)) <= 0.01


@given(weights)
def test_no_share_is_ever_far_from_its_weight(weights: list[int]) -> None:
    """Smooth: after any number of picks each slot has had its share, give or take one per candidate."""
    table, slots, total = table_of(weights), range(len(weights)), sum(weights)
    taken: Counter[int] = Counter()
    for done in range(1, 200):
        taken[weighted_round_robin(table, slots)] += 1
        if total:
            assert all(abs(taken[s] - done * weights[s] / total) <= len(weights) for s in slots)


@given(weights, st.data())
def test_shares_return_after_some_were_left_out(weights: list[int], data: st.DataObject) -> None:
    """Retries pick among fewer: that must not bend the shares of later requests."""
    table, slots = table_of([w + 1 for w in weights]), list(range(len(weights)))
    some = st.lists(st.sampled_from(slots), min_size=1, unique=True)
    for few in data.draw(st.lists(some, max_size=50)):
        assert weighted_round_robin(table, few) in few
    found, total = shares(weighted_round_robin, table, slots, 5_000), sum(weights) + len(weights)
    for slot in slots:
        assert abs(found[slot] / 5_000 - (weights[slot] + 1) / total) <= 0.02


@pytest.mark.parametrize("picker", PICKERS.values())
def test_weight_zero_only_when_no_other_is_left(picker: Picker) -> None:
    table = table_of([0, 2, 0, 2])
    assert set(shares(picker, table, range(4), 300)) == {1, 3}
    assert picker(table, [0]) == 0
    assert picker(table, [0, 1]) == 1
    assert shares(picker, table, [0, 2], 10) == {0: 5, 2: 5}, "among equals they rotate"


@pytest.mark.parametrize("picker", PICKERS.values())
def test_equal_endpoints_take_turns(picker: Picker) -> None:
    table = table_of([1, 1, 1])
    rounds = [{picker(table, range(3)) for _ in range(3)} for _ in range(5)]
    assert rounds == [{0, 1, 2}] * 5


def test_fewest_attempts_per_weight() -> None:
    table = table_of([1, 1, 4])
    table.in_flight[0], table.in_flight[1], table.in_flight[2] = 2, 1, 6
    assert least_in_flight(table, range(3)) == 2, "7 / 4 is less than 2 / 1"
    table.in_flight[2] = 8
    assert least_in_flight(table, range(3)) == 1
    assert least_in_flight(table, [0, 2]) == 2


@given(weights, st.lists(st.booleans(), min_size=50, max_size=200))
def test_load_stays_level(weights: list[int], starts: list[bool]) -> None:
    """Attempts start and end in any order: none waits at an endpoint while another of its weight has two fewer."""
    table, slots = table_of([1] * len(weights)), range(len(weights))
    running: list[int] = []
    for start in starts:
        if start or not running:
            slot = least_in_flight(table, slots)
            assert table.in_flight[slot] == min(table.in_flight[s] for s in slots)
            table.in_flight[slot] += 1
            running.append(slot)
        else:
            table.in_flight[running.pop(0)] -= 1


def test_a_past_imbalance_does_not_decide_ties() -> None:
    """One endpoint was busy for long: once both are free they take turns, nobody catches up."""
    table = table_of([1, 1])
    table.in_flight[1] = 1
    assert shares(least_in_flight, table, [0, 1], 100) == {0: 100}
    table.in_flight[1] = 0
    assert shares(least_in_flight, table, [0, 1], 100) == {0: 50, 1: 50}


def test_another_picker_starts_even() -> None:
    """A reload changes the picker; the slots stay. Whoever was picked more before must not be starved now."""
    table = table_of([1, 1])
    table.in_flight[1] = 1
    shares(least_in_flight, table, [0, 1], 100)
    for key in (0, 1):
        table.slot(key, 1)
    assert shares(weighted_round_robin, table, [0, 1], 10) == {0: 5, 1: 5}
