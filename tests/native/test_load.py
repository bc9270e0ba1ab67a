"""Charges, samples and costs: the kernel against its twin, and what must hold of both."""

import math
from array import array
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from _native import load as native
from _native.reference import load as twin
from scheduler.endpoint import _COLUMNS, EndpointTable

SLOTS = 4
slots = st.integers(0, SLOTS - 1)
tokens = st.integers(0, 300_000)
odd = st.floats() | st.sampled_from([0.0, -1.0, math.nan, math.inf, 1e300])


def columns() -> dict[str, "array[Any]"]:
    made: dict[str, array[Any]] = {name: array(code, [0] * SLOTS) for name, code in _COLUMNS.items()}
    made["weight"] = array("q", [1, 2, 1, 0])
    made["identity"] = array("Q", [3, 2**64 - 1, 77, 2**63])
    return made


class Twins(RuleBasedStateMachine):
    """Anything in any order, hostile columns too: both say and write the same."""

    def __init__(self) -> None:
        super().__init__()
        self.ours, self.theirs = columns(), columns()
        self.native, self.twin = native.Load(self.ours), twin.Load(self.theirs)
        self.sent: list[tuple[int, int, float]] = []
        self.now = 100.0

    @rule(slot=slots, count=tokens)
    def send(self, slot: int, count: int) -> None:
        mark = self.native.send(slot, count)
        assert mark == self.twin.send(slot, count)
        self.sent.append((slot, count, mark))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        slot, count, mark = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        for load in (self.native, self.twin):
            load.settle(slot, count, mark)
            load.end(slot)

    @rule(slot=slots, seconds=odd | st.floats(0, 100))
    def observe(self, slot: int, seconds: float) -> None:
        self.native.observe(slot, seconds, self.now)
        self.twin.observe(slot, seconds, self.now)
        assert self.native.observe_most(slot, seconds, self.now) == self.twin.observe_most(slot, seconds, self.now)

    @rule(slot=slots, queued=odd | st.floats(0, 1e6), usage=odd | st.floats(0, 1), speed=odd | st.floats(0, 1e5))
    def note(self, slot: int, queued: float, usage: float, speed: float) -> None:
        told = (slot, self.now, queued, usage, speed)
        assert self.native.note(*told) == self.twin.note(*told)

    @rule(slot=slots, name=st.sampled_from(["queued", "kv_usage", "throughput", "tokens_elsewhere"]), value=odd)
    def damage(self, slot: int, name: str, value: float) -> None:
        self.ours[name][slot] = self.theirs[name][slot] = value

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(some=st.lists(slots, min_size=1, unique=True), count=tokens)
    def least(self, some: list[int], count: int) -> None:
        assert self.native.least(some, count, self.now) == self.twin.least(some, count, self.now)

    @rule(some=st.lists(slots, min_size=1, unique=True))
    def fewest(self, some: list[int]) -> None:
        assert self.native.fewest(some) == self.twin.fewest(some)

    @rule(some=st.lists(slots, min_size=1, unique=True), key=st.integers(0, 2**64 - 1))
    def home(self, some: list[int], key: int) -> None:
        assert self.native.home(some, key) == self.twin.home(some, key)

    @invariant()
    def they_agree(self) -> None:
        for name, column in self.ours.items():
            assert column == pytest.approx(self.theirs[name], nan_ok=True), name
        for slot in range(SLOTS):
            found = self.native.seconds(slot, 100, self.now)
            assert math.isfinite(found)
            assert found >= 0.0
            assert found == pytest.approx(self.twin.seconds(slot, 100, self.now))
            assert self.native.waiting(slot, self.now) == pytest.approx(self.twin.waiting(slot, self.now))

    def teardown(self) -> None:
        for slot, count, mark in self.sent:
            self.native.settle(slot, count, mark)
            self.native.end(slot)
        assert list(self.ours["tokens"]) == [0.0] * SLOTS, "every charge was given back, exactly"
        assert list(self.ours["in_flight"]) == [0] * SLOTS


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=60, stateful_step_count=40)


def one(**facts: float) -> tuple[EndpointTable, native.Load]:
    table = EndpointTable()
    table.slot("a", 1)
    for name, value in facts.items():
        getattr(table, name)[0] = value
    return table, table.load


def test_the_cost_is_that_of_the_design() -> None:
    """(queued + in flight + prompt) / throughput + lambda k / (1 - k), by hand."""
    _, load = one(queued=30_000.0, kv_usage=0.75, throughput=10_000.0, sampled_at=50.0)
    load.send(0, 8_000)
    assert load.seconds(0, 2_000, 50.0) == pytest.approx((30_000 + 8_000 + 2_000) / 10_000 + 0.15 * 3)


@pytest.mark.parametrize(("usage", "seconds"), [(0.0, 0.0), (0.5, 0.15), (0.999, 149.85), (1.0, 149.85)])
def test_memory_costs_more_the_fuller_it_is(usage: float, seconds: float) -> None:
    _, load = one(kv_usage=usage, sampled_at=50.0)
    assert load.seconds(0, 0, 50.0) == pytest.approx(seconds)


def test_of_an_unknown_endpoint_2000_tokens_a_second_are_expected() -> None:
    assert one()[1].seconds(0, 4_000, 1.0) == 2.0


def test_what_a_sample_knows_is_not_counted_twice() -> None:
    _, load = one()
    mark = load.send(0, 5_000)
    load.note(0, 10.0, 5_000.0, 0.0, 0.0)
    assert load.waiting(0, 10.0) == 5_000.0
    load.send(0, 1_000)
    assert load.waiting(0, 10.0) == 6_000.0, "what was sent after it is"
    load.settle(0, 5_000, mark)
    assert load.waiting(0, 10.0) == 6_000.0, "until the next sample its queue holds it"


def test_a_prompt_that_is_being_read_is_counted_though_nothing_waits() -> None:
    """An engine's queue is empty while it reads 32,000 tokens: the next prompt waits for them all the same."""
    _, load = one()
    load.send(0, 32_000)
    load.note(0, 10.0, 0.0, 0.0, 0.0)
    assert load.waiting(0, 10.0) == 32_000.0


def test_other_senders_are_known_by_the_sample_and_other_workers_by_their_columns() -> None:
    table, load = one(queued=9_000.0, sampled_at=10.0)
    assert load.waiting(0, 10.0) == 9_000.0
    table.tokens_elsewhere[0] = 20_000.0
    assert load.waiting(0, 10.0) == 20_000.0


def test_a_queue_is_read_while_no_sample_comes() -> None:
    _, load = one(queued=10_000.0, sampled_at=10.0)
    assert [load.waiting(0, 10.0 + age) for age in (0, 1, 4, 5, 60)] == [10_000.0, 8_000.0, 2_000.0, 0.0, 0.0]


def test_an_old_word_on_memory_fades_to_what_runs() -> None:
    _, load = one(kv_usage=0.99, sampled_at=100.0)
    load.send(0, 0)
    found = [load.seconds(0, 0, 100.0 + age) for age in (0, 5, 10, 15, 600)]
    assert found[0] == found[1] == pytest.approx(14.85)
    assert found[2] == pytest.approx(14.85 / 2 + 0.005)
    assert found[4] == pytest.approx(0.010)


def test_samples_that_are_older_or_cannot_be_are_refused() -> None:
    table, load = one()
    assert load.note(0, 10.0, 100.0, 0.5, 3_000.0)
    for told in (
        (9.0, 1.0, 0.1, 0.0),
        (10.0, 1.0, 0.1, 0.0),
        (math.inf, 1.0, 0.1, 0.0),
        (11.0, -1.0, 0.1, 0.0),
        (11.0, math.nan, 0.1, 0.0),
        (11.0, 1.0, 1.5, 0.0),
        (11.0, 1.0, math.nan, 0.0),
        (11.0, 1.0, 0.1, math.inf),
    ):
        assert not load.note(0, *told)
    assert (table.queued[0], table.kv_usage[0], table.throughput[0], table.sampled_at[0]) == (100.0, 0.5, 3_000.0, 10.0)
    assert load.note(0, 11.0, 0.0, 0.0, 0.0)
    assert table.throughput[0] == 3_000.0, "an unknown speed leaves the one known"


def test_the_mean_rises_at_once_and_falls_in_ten_seconds() -> None:
    table, load = one()
    load.observe(0, 0.2, 100.0)
    load.observe(0, 2.0, 101.0)
    assert table.ttft[0] == 2.0
    load.observe(0, 0.2, 111.0)
    assert table.ttft[0] == pytest.approx(0.2 + 1.8 / math.e)


def test_a_whole_answer_only_lowers_the_mean() -> None:
    table, load = one()
    assert not load.observe_most(0, 3.0, 100.0)
    assert table.ttft_at[0] == 0.0
    load.observe(0, 2.0, 100.0)
    assert not load.observe_most(0, 30.0, 101.0)
    assert load.observe_most(0, 0.5, 110.0)
    assert table.ttft[0] == pytest.approx(0.5 + 1.5 / math.e)


def test_close_costs_take_turns_and_others_do_not() -> None:
    table = EndpointTable()
    for key in "ab":
        table.slot(key, 1)
    table.load.send(0, 9)  # 4.5 ms
    table.in_flight[0] = 0
    assert [table.load.least([0, 1], 100, 1.0) for _ in range(4)] == [0, 1, 0, 1]
    table.tokens[0] = 11.0
    assert [table.load.least([0, 1], 100, 1.0) for _ in range(4)] == [1, 1, 1, 1]
    table.tokens[0] = 0.0
    found = [table.load.least([0, 1], 100, 1.0) for _ in range(100)]
    assert abs(found.count(0) - 50) <= 1, "nobody catches up"


@given(st.integers(-(10**6), 10**6))
def test_a_slot_that_is_not_there_is_refused(slot: int) -> None:
    load = one()[1]
    if slot == 0:
        return
    for call in (lambda: load.send(slot, 1), lambda: load.settle(slot, 1, 0.0), lambda: load.end(slot),
                 lambda: load.seconds(slot, 1, 0.0), lambda: load.least([0, slot], 1, 0.0),
                 lambda: load.note(slot, 1.0, 0.0, 0.0, 0.0), lambda: load.observe(slot, 1.0, 1.0)):  # fmt: skip
        with pytest.raises(IndexError, match="slot"):
            call()


def test_columns_must_be_whole() -> None:
    made = columns()
    with pytest.raises(KeyError):
        native.Load({name: column for name, column in made.items() if name != "tokens"})
    with pytest.raises(TypeError, match="tokens"):
        native.Load(made | {"tokens": array("q", [0] * SLOTS)})
    with pytest.raises(ValueError, match="length"):
        native.Load(made | {"tokens": array("d", [0.0])})
    with pytest.raises(ValueError, match="no endpoint"):
        native.Load(made).least([], 1, 1.0)
    with pytest.raises(ValueError, match="no endpoint"):
        native.Load(made).fewest([])
    with pytest.raises(ValueError, match="no endpoint"):
        native.Load(made).home([], 1)


def test_a_table_that_grows_keeps_its_load() -> None:
    table = EndpointTable()
    for key in range(2_000):
        slot = table.slot(key, 1)
        table.load.send(slot, key)
    assert [table.load.waiting(slot, 1.0) for slot in range(2_000)] == list(map(float, range(2_000)))
