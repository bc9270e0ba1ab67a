"""Pickers: shares follow the weights whatever the candidates, weight 0 waits until it is alone, ties rotate."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.ask import Ask
from scheduler.endpoint import EndpointTable
from scheduler.picker import PICKERS, Picker
from scheduler.pickers import (
    consistent_hash,
    least_cost,
    least_in_flight,
    peak_ewma,
    power_of_two,
    weighted_round_robin,
)

PICKS = 10_000
weights = st.lists(st.integers(0, 1000), min_size=1, max_size=8)


def table_of(weights: Sequence[int]) -> EndpointTable:
    table, identities = EndpointTable(), Random(3)
    for key, weight in enumerate(weights):
        table.expect(table.slot(key, weight), identities.getrandbits(64), 2_000.0, None)
    return table


def asks(seed: int = 7) -> Callable[[], Ask]:
    """Requests of many callers, with lots of their own."""
    random = Random(seed)
    return lambda: Ask(100, 1.0, random.getrandbits(64), random.random)


def shares(picker: Picker, table: EndpointTable, slots: Sequence[int], picks: int = PICKS) -> Counter[int]:
    ask = asks()
    return Counter(picker(table, slots, ask()) for _ in range(picks))


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


#: Those that take exact turns among equals; the others spread them by lot or hash.
TURNS = [name for name in PICKERS if name not in ("power_of_two", "random", "consistent_hash")]
#: Those that give idle endpoints what their weights say.
BY_WEIGHT = ["weighted_round_robin", "weighted", "least_cost", "random", "consistent_hash"]


@pytest.mark.parametrize("name", PICKERS)
def test_weight_zero_only_when_no_other_is_left(name: str) -> None:
    table, picker, ask = table_of([0, 2, 0, 2]), PICKERS[name], asks()
    assert set(shares(picker, table, range(4), 300)) == {1, 3}
    assert picker(table, [0], ask()) == 0
    assert picker(table, [0, 1], ask()) == 1
    found = shares(picker, table, [0, 2], 100)
    assert found.keys() == {0, 2}, "nobody is left out when all are spares"
    assert name not in TURNS or found == {0: 50, 2: 50}, "among equals they rotate"


@pytest.mark.parametrize("name", TURNS)
def test_equal_endpoints_take_turns(name: str) -> None:
    table, ask = table_of([1, 1, 1]), asks()
    rounds = [{PICKERS[name](table, range(3), ask()) for _ in range(3)} for _ in range(5)]
    assert rounds == [{0, 1, 2}] * 5


@pytest.mark.parametrize("name", BY_WEIGHT)
@pytest.mark.parametrize("weights", [[3, 1], [5, 3, 2], [7, 7, 7, 7, 7], [1_000_000, 1]])
def test_idle_endpoints_share_by_weight(name: str, weights: list[int]) -> None:
    found = shares(PICKERS[name], table_of(weights), range(len(weights)))
    for slot, weight in enumerate(weights):
        assert abs(found[slot] / PICKS - weight / sum(weights)) <= 0.02


@pytest.mark.parametrize("name", PICKERS)
@given(st.data())
def test_only_a_candidate_is_ever_picked(name: str, data: st.DataObject) -> None:
    """Whatever the columns say, hostile numbers of other processes among it."""
    count = data.draw(st.integers(1, 6))
    table, ask = table_of([data.draw(st.integers(0, 5)) for _ in range(count)]), asks()
    for column in (table.tokens, table.tokens_elsewhere, table.since, table.counted_at, table.queued):
        column[data.draw(st.integers(0, count - 1))] = data.draw(st.floats())
    for column in (table.kv_usage, table.throughput, table.sampled_at, table.ttft):
        column[data.draw(st.integers(0, count - 1))] = data.draw(st.floats(0, 1e6) | st.sampled_from([float("nan")]))
    slots = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    weighty = {slot for slot in slots if table.weight[slot]} or set(slots)
    assert {PICKERS[name](table, slots, ask()) for _ in range(5)} <= weighty


@pytest.mark.parametrize("name", PICKERS)
def test_nobody_starves(name: str) -> None:
    """Ten attempts run at any time: under that load every endpoint has some, a heavy neighbour or not."""
    table, ask, running = table_of([1, 2, 1]), asks(), []
    picked: Counter[int] = Counter()
    for _ in range(3_000):
        slot = PICKERS[name](table, range(3), ask())
        picked[slot] += 1
        running.append((slot, table.load.send(slot, 100)))
        if len(running) > 10:
            ended, mark = running.pop(0)
            table.load.settle(ended, 100, mark)
            table.load.end(ended)
    assert all(picked[slot] > 300 for slot in range(3))


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


def test_power_of_two_avoids_the_busiest() -> None:
    """It is never taken, but for lots that draw nobody else: two are always drawn apart."""
    table = table_of([1, 1, 1, 1])
    table.in_flight[2] = 50
    found = shares(power_of_two, table, range(4), 2_000)
    assert found[2] == 0
    assert all(found[slot] > 500 for slot in (0, 1, 3))


def test_power_of_two_counts_other_workers() -> None:
    table = table_of([1, 1])
    table.in_flight_elsewhere[0] = 3
    assert shares(power_of_two, table, [0, 1], 100) == {1: 100}


def test_peak_ewma_takes_the_quickest_of_late_and_tries_the_slow_again() -> None:
    table = table_of([1, 1])
    for slot, seconds in ((0, 0.2), (1, 1.0)):
        table.load.observe(slot, seconds, 1.0)
    assert {peak_ewma(table, [0, 1], Ask(now=2.0)) for _ in range(20)} == {0}
    table.in_flight[0] = 9
    assert peak_ewma(table, [0, 1], Ask(now=2.0)) == 1, "ten times 0.2 s is more than 1 s"
    table.in_flight[0] = 0
    table.load.observe(0, 0.2, 100.0)
    assert peak_ewma(table, [0, 1], Ask(now=100.0)) == 1, "what was seen 99 s ago has faded"


def test_peak_ewma_tries_the_unknown_one_attempt_at_a_time() -> None:
    table = table_of([1, 1])
    table.load.observe(0, 0.2, 1.0)
    assert peak_ewma(table, [0, 1], Ask(now=1.0)) == 1
    table.in_flight[1] = 1
    assert peak_ewma(table, [0, 1], Ask(now=1.0)) == 0


KEYS = 4_000


@pytest.mark.parametrize("count", [3, 10, 25])
def test_consistent_hash_moves_only_the_keys_of_who_left(count: int) -> None:
    table, random = table_of([1] * count), Random(5)
    keys = [random.getrandbits(64) for _ in range(KEYS)]
    before = [consistent_hash(table, range(count), Ask(key=key)) for key in keys]
    assert before == [consistent_hash(table, range(count), Ask(key=key)) for key in keys]
    after = [consistent_hash(table, range(1, count), Ask(key=key)) for key in keys]
    moved = [old for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {0}, "others keep their keys"
    assert len(moved) < 1.5 * KEYS / count


def test_consistent_hash_spreads_neighbouring_keys() -> None:
    found = Counter(consistent_hash(table_of([1] * 4), range(4), Ask(key=key)) for key in range(KEYS))
    assert all(abs(found[slot] / KEYS - 0.25) < 0.03 for slot in range(4))


def test_consistent_hash_does_not_depend_on_order_or_slots() -> None:
    """Another worker gave the same endpoints other slots."""
    here, there = table_of([1] * 5), table_of([1] * 5)
    for slot in range(5):
        there.identity[4 - slot] = here.identity[slot]
    for key in range(500):
        slot = consistent_hash(here, [3, 1, 4, 0, 2], Ask(key=key))
        assert consistent_hash(there, range(5), Ask(key=key)) == 4 - slot


def test_consistent_hash_holds_its_bound() -> None:
    """One key that everybody asks with: no endpoint has more than 1.25 times its share of what runs, and one more."""
    table = table_of([1] * 4)
    for begun in range(1, 400):
        table.in_flight[consistent_hash(table, range(4), Ask(key=42))] += 1
        assert max(table.in_flight) <= 1.25 * begun / 4 + 1
    assert min(table.in_flight) > 0


def test_least_cost_counts_tokens_and_not_requests() -> None:
    table = table_of([1, 1])
    for _ in range(5):
        table.load.send(0, 100)
    table.load.send(1, 32_000)
    assert [least_cost(table, [0, 1], Ask(100, 1.0)) for _ in range(5)] == [0] * 5


def test_the_old_and_the_short_name_are_one_picker() -> None:
    assert PICKERS["weighted"] is PICKERS["weighted_round_robin"]
