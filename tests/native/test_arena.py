"""The arena kernel against its twin: numbers, limits, leases, full tables. One process; see the torture for several."""

import importlib.machinery
import math
import os
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from _native import arena as native
from _native.arena import Arena, Gate, Lease, Refusal, Sizes, digest
from _native.reference import arena as twin

SECRET = bytes(range(16))
SMALL = Sizes(
    workers=4, families=8, series=64, lanes=16, histograms=16, buckets=16, limits=16, leases=8, cells=16, samples=16,
    budgets=16, family_limit=20,
)  # fmt: skip
SECOND = 1_000_000_000
FAR = 1 << 60


@pytest.fixture
def arena() -> Arena:
    made = Arena.anonymous(SECRET, SMALL)
    made.join(pid=1, start=1)
    return made


def shown(arena: Arena) -> dict[tuple[str, ...], Any]:
    return {(row.family, *row.labels): row.value for row in arena.series()}


def test_kernel_is_compiled() -> None:
    assert native.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))


def test_what_an_arena_makes_is_made_by_no_one_else() -> None:
    for made in (native.Arena, native.Counter, native.Bucket, native.Lease, native.Sample):
        with pytest.raises(TypeError):
            made()
        with pytest.raises(TypeError):
            made.__new__(made)


@given(st.lists(st.text(max_size=12), max_size=4))
def test_digests_agree_with_the_twin(words: list[str]) -> None:
    assert digest(*words) == twin.digest(*words)
    assert digest(*words, "") != digest(*words)


# -- series


def test_series_show_what_was_counted(arena: Arena) -> None:
    arena.counter("requests", ("a", "200")).add(3)
    arena.counter("requests", ("a", "200")).add()
    arena.gauge("health", ("e",)).set(0.5)
    arena.gauge("health", ("e",)).add(-0.25)
    arena.lane("in_flight", ("a",)).add(2)
    arena.lane("in_flight", ("a",)).add(-1)
    arena.histogram("latency").record(7)
    found = shown(arena)
    assert found.pop(("latency",)).sum_us == 7
    assert found == {("requests", "a", "200"): 4, ("health", "e"): 0.25, ("in_flight", "a"): 1}
    assert {row.family: row.kind for row in arena.series()} == {
        "requests": "counter", "health": "gauge", "in_flight": "gauge", "latency": "histogram",
    }  # fmt: skip


def test_labels_are_text_of_any_kind(arena: Arena) -> None:
    arena.counter("f", ("é\0x", "")).add()
    assert shown(arena) == {("f", "é\ufffdx", ""): 1}


def test_a_negative_count_is_refused(arena: Arena) -> None:
    with pytest.raises(OverflowError):
        arena.counter("f").add(-1)
    with pytest.raises(OverflowError):
        arena.histogram("h").record(-1)


def test_a_series_keeps_its_kind(arena: Arena) -> None:
    arena.counter("f", ("x",))
    with pytest.raises(ValueError, match="another kind"):
        arena.gauge("f", ("x",))


def test_a_lane_needs_a_worker() -> None:
    with pytest.raises(RuntimeError):
        Arena.anonymous(SECRET, SMALL).lane("in_flight")


@given(st.lists(st.tuples(st.sampled_from(["f", "g"]), st.integers(0, 40), st.integers(0, 9)), max_size=120))
def test_cardinality_is_bounded_as_in_the_twin(counts: list[tuple[str, int, int]]) -> None:
    arena, model = Arena.anonymous(SECRET, SMALL), twin.Arena(SMALL)
    for family, label, n in counts:
        arena.counter(family, (str(label),)).add(n)
        model.count(family, (str(label),), n)
    expected = {(family, *row): n for family, rows in model.counters.items() for row, n in rows.items()}
    assert {key: n for key, n in shown(arena).items() if n} == {key: n for key, n in expected.items() if n}


def test_a_full_table_counts_as_other_and_loses_nothing() -> None:
    arena = Arena.anonymous(SECRET, SMALL._replace(family_limit=1_000_000))
    for i in range(1_000):
        arena.counter("f", (f"model-{i}", "200")).add()
        arena.histogram("h", (f"model-{i}",)).record(i)
    found = shown(arena)
    assert len([key for key in found if key[0] == "f"]) == SMALL.series
    assert sum(n for key, n in found.items() if key[0] == "f") == 1_000
    assert found["f", "other", "other"] == 1_000 - (SMALL.series - 1)
    assert sum(value.count for key, value in found.items() if key[0] == "h") == 1_000
    assert arena.refusals["series"] == 1_000 - (SMALL.series - 1)


def test_a_family_met_after_the_table_is_full_breaks_nothing() -> None:
    arena = Arena.anonymous(SECRET, SMALL._replace(family_limit=1_000))
    for i in range(200):
        arena.counter("f", (str(i),))
    arena.counter("late", ("x",)).add()
    arena.counter("latest").add()
    assert not {key for key in shown(arena) if key[0].startswith("late")}


def test_text_that_is_too_long_counts_as_other(arena: Arena) -> None:
    arena.counter("f", ("x" * 4096,)).add(2)
    assert shown(arena) == {("f", "other"): 2}


# -- histograms


def test_every_duration_is_within_a_percent() -> None:
    chance = random.Random(1)
    values = [*range(5_000), *(1 << e for e in range(32)), *(int(2 ** chance.uniform(0, 32)) for _ in range(20_000))]
    for value in values:
        middle = twin.bin_middle(twin.bin_of(value))
        assert abs(middle - value) <= 0.01 * value
    assert twin.bin_of(1 << 50) == twin.bin_of((1 << 32) - 1) == 1727


DURATIONS = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 1 << 33)), max_size=60)


@given(DURATIONS, st.lists(st.floats(0, 1), max_size=5), st.lists(st.floats(0, 5e9), max_size=5))
def test_histograms_agree_with_the_twin(values: list[int], quantiles: list[float], bounds: list[float]) -> None:
    histogram, model = Arena.anonymous(SECRET, SMALL).histogram("h"), twin.Histogram()
    for value in values:
        histogram.record(value)
        model.record(value)
    copy = histogram.snapshot()
    assert (copy.count, copy.sum_us) == (model.count, model.sum_us)
    assert [copy.quantile(q) for q in quantiles] == [model.quantile(q) for q in quantiles]
    assert copy.cumulative(sorted(bounds)) == model.cumulative(sorted(bounds))


def test_a_quantile_outside_its_range_is_refused(arena: Arena) -> None:
    for q in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError):
            arena.histogram("h").snapshot().quantile(q)


# -- rates


TAKES = st.tuples(
    st.integers(0, 3 * SECOND), st.integers(0, 12), st.sampled_from(["take", "take", "correct", "refund"])
)


@given(st.lists(TAKES, max_size=40), st.integers(1, SECOND), st.integers(1, 10))
def test_buckets_agree_with_the_twin(steps: list[tuple[int, int, str]], period: int, burst: int) -> None:
    bucket, model = Arena.anonymous(SECRET, SMALL).bucket(bytes(16)), twin.Bucket()
    now = 0
    for wait, cost, what in steps:
        now += wait
        if what == "take":
            assert bucket.take(now, cost, period, burst) == model.take(now, cost, period, burst)
        else:
            signed = cost if what == "correct" else -cost
            bucket.correct(now, signed, period)
            model.correct(now, signed, period)


@given(
    st.integers(0, (1 << 63) - 1), st.integers(0, (1 << 63) - 1), st.integers(1, (1 << 63) - 1),
    st.integers(1, (1 << 63) - 1),
)  # fmt: skip
def test_buckets_stand_any_number(now: int, cost: int, period: int, burst: int) -> None:
    bucket, model = Arena.anonymous(SECRET, SMALL).bucket(bytes(16)), twin.Bucket()
    for _ in range(3):
        assert bucket.take(now, cost, period, burst) == model.take(now, cost, period, burst)


def test_a_rate_admits_its_burst_and_then_its_period(arena: Arena) -> None:
    bucket = arena.bucket(digest("key"))
    admitted = sum(bucket.take(SECOND + i * SECOND // 100, 1, SECOND // 10, 5)[0] for i in range(1_001))
    assert admitted == 5 + 100  # ten seconds at ten a second
    assert bucket.take(SECOND, 6, SECOND, 5) == (False, -1, 0)


def test_a_bucket_in_debt_says_when_it_will_pass(arena: Arena) -> None:
    bucket = arena.bucket(digest("key"))
    bucket.correct(SECOND, 8, SECOND)  # the estimate missed 8 units
    admitted, wait, _ = bucket.take(SECOND, 1, SECOND, 5)
    assert (admitted, wait) == (False, 4 * SECOND)
    assert not bucket.take(SECOND + wait - 1, 1, SECOND, 5)[0]
    assert bucket.take(SECOND + wait, 1, SECOND, 5)[0]


@pytest.mark.parametrize(("cost", "period", "burst"), [(-1, 1, 1), (1, 0, 1), (1, 1, 0), (1, -5, 1)])
def test_rates_that_cannot_be_are_refused(arena: Arena, cost: int, period: int, burst: int) -> None:
    with pytest.raises(ValueError):
        arena.bucket(bytes(16)).take(0, cost, period, burst)


# -- admission


def test_a_gate_is_all_or_nothing(arena: Arena) -> None:
    bucket, free, taken = arena.bucket(digest("b")), arena.limit(digest("free")), arena.limit(digest("taken"))
    held = Gate(arena, [], [(taken, 1)]).admit(SECOND, FAR)
    gate = Gate(arena, [(bucket, SECOND, 3)], [(free, 5), (taken, 1)])
    assert gate.admit(SECOND, FAR) == Refusal("slots", 1, 0)
    assert (free.in_use, taken.in_use, bucket.take(SECOND, 0, SECOND, 3)[2]) == (0, 1, 3)
    assert isinstance(held, Lease)
    assert held.release()
    assert isinstance(gate.admit(SECOND, FAR, (9,)), Refusal)
    assert (free.in_use, taken.in_use) == (0, 0)


def test_a_refusal_names_the_longest_wait(arena: Arena) -> None:
    buckets = [arena.bucket(digest(str(i))) for i in range(4)]
    for i, bucket in enumerate(buckets):
        bucket.correct(SECOND, (3, 1, 7, 5)[i], SECOND)
    gate = Gate(arena, [(bucket, SECOND, 1) for bucket in buckets])
    assert gate.admit(SECOND, FAR) == Refusal("rate", 2, 7 * SECOND)
    assert gate.admit(SECOND, FAR, (1, 2, 1, 1)) == Refusal("rate", 1, -1)


def test_a_lease_ends_once(arena: Arena) -> None:
    limit = arena.limit(digest("l"))
    lease = Gate(arena, [], [(limit, 2)]).admit(SECOND, 2 * SECOND)
    assert isinstance(lease, Lease)
    assert lease.renew(5 * SECOND)
    assert arena.reap(3 * SECOND, lambda pid, start: True) == (0, 0)
    assert arena.reap(5 * SECOND, lambda pid, start: True) == (0, 1)
    assert not lease.held
    assert not lease.renew(FAR)
    again = Gate(arena, [], [(limit, 2)]).admit(SECOND, FAR)
    assert not lease.release()
    assert limit.in_use == 1
    del again
    assert limit.in_use == 0  # dropped is released


def test_a_gate_refuses_what_it_cannot_hold(arena: Arena) -> None:
    limit, bucket = arena.limit(digest("l")), arena.bucket(digest("b"))
    for rates, slots in [([], [(limit, 1)] * 2), ([(bucket, 1, 1)] * 2, []), ([(bucket, 0, 1)], [])]:
        with pytest.raises(ValueError):
            Gate(arena, rates, slots)
    with pytest.raises(ValueError):
        Gate(arena, [], [(arena.limit(digest(str(i))), 1) for i in range(9)])
    with pytest.raises(ValueError):
        Gate(arena, [(bucket, 1, 1)]).admit(0, FAR, (1, 1))
    other = Arena.anonymous(SECRET, SMALL)
    gate = Gate(other, [], [(other.limit(digest("l")), 1)])
    with pytest.raises(RuntimeError):
        gate.admit(0, FAR)


def test_full_tables_fail_closed(arena: Arena) -> None:
    buckets = [arena.bucket(digest(str(i))) for i in range(17)]
    limits = [arena.limit(digest(str(i))) for i in range(17)]
    assert [bucket.full for bucket in buckets] == [limit.full for limit in limits] == [False] * 16 + [True]
    assert buckets[16].take(SECOND, 1, 1, 1) == (False, 0, 0)
    assert Gate(arena, [(buckets[16], 1, 1)]).admit(SECOND, FAR) == Refusal("full", -1, 0)
    assert Gate(arena, [], [(limits[16], 5)]).admit(SECOND, FAR) == Refusal("full", -1, 0)
    held = [Gate(arena, [], [(limits[0], 99)]).admit(SECOND, FAR) for _ in range(9)]
    assert [isinstance(lease, Lease) for lease in held] == [True] * 8 + [False]
    assert held[8] == Refusal("full", -1, 0)
    assert limits[0].in_use == 8
    assert {name: arena.refusals[name] for name in ("buckets", "limits", "leases")} == dict.fromkeys(
        ("buckets", "limits", "leases"), 1
    )


class Node(RuleBasedStateMachine):
    """Several workers of one node and their twin: what was admitted, who holds what, what came back when who died."""

    @initialize()
    def begin(self) -> None:
        self.memory = bytearray(0)
        first = Arena.anonymous(SECRET, SMALL)
        self.memory = first.memory
        self.model = twin.Arena(SMALL)
        self.workers: dict[int, Arena] = {}
        self.dead: set[int] = set()
        self.leases: list[tuple[Lease, twin.Lease]] = []
        self.reader = first
        self.now = SECOND
        self.pids = 0

    @precondition(lambda self: len(self.model.joined) < SMALL.workers)
    @rule()
    def start(self) -> None:
        self.pids += 1
        arena = Arena.attach(self.memory, SECRET, bytes(16))
        assert arena.join(pid=self.pids, start=9) == self.model.join(self.pids, 9)
        self.workers[arena.slot] = arena

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.workers)))
        self.dead.add(self.model.joined[slot][0])
        del self.workers[slot]

    @rule(wait=st.sampled_from([0, SECOND // 3, 5 * SECOND]))
    def reap(self, wait: int) -> None:
        self.now += wait
        alive = lambda pid, start: start == 9 and pid not in self.dead  # noqa: E731
        assert self.reader.reap(self.now, alive) == self.model.reap(self.now, alive)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def admit(self, data: st.DataObject) -> None:
        self.model.worker = data.draw(st.sampled_from(sorted(self.workers)))
        arena = self.workers[self.model.worker]
        rates = data.draw(st.lists(st.sampled_from("ab"), unique=True))
        slots = data.draw(st.lists(st.sampled_from("xyz"), unique=True))
        costs = data.draw(st.lists(st.integers(0, 4), min_size=len(rates), max_size=len(rates)))
        expires = self.now + data.draw(st.sampled_from([SECOND, 60 * SECOND]))
        gate = Gate(
            arena,
            [(arena.bucket(digest(name)), SECOND, 3) for name in rates],
            [(arena.limit(digest(name)), 2) for name in slots],
        )
        model = twin.Gate(
            self.model,
            [(self.model.bucket(digest(name)), SECOND, 3) for name in rates],
            [(self.model.limit(digest(name)), 2) for name in slots],
        )
        self.compare(gate.admit(self.now, expires, costs), model.admit(self.now, expires, costs))

    def compare(self, got: Lease | Refusal, expected: twin.Lease | Refusal) -> None:
        if isinstance(got, Refusal):
            assert isinstance(expected, Refusal)
            assert (got.cause, got.retry_after) == (expected.cause, expected.retry_after)
        else:
            assert isinstance(expected, twin.Lease)
            self.leases.append((got, expected))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease, model = data.draw(st.sampled_from(self.leases))
        if model.limits:
            assert lease.release() == model.release()

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        lease, model = data.draw(st.sampled_from(self.leases))
        if model.limits:
            assert lease.renew(self.now + 90 * SECOND) == model.renew(self.now + 90 * SECOND)

    @invariant()
    def counts_agree(self) -> None:
        for name in "xyz":
            assert self.reader.limit(digest(name)).in_use == self.model.limit(digest(name)).in_use
        for name in "ab":
            look = self.reader.bucket(digest(name)).take(self.now, 0, SECOND, 3)
            assert look == self.model.bucket(digest(name)).take(self.now, 0, SECOND, 3)


TestNode = Node.TestCase
TestNode.settings = settings(max_examples=40, stateful_step_count=40)


# -- workers


def test_lanes_die_with_their_worker(arena: Arena) -> None:
    other = Arena.attach(arena.memory, SECRET, bytes(16))
    other.join(pid=2, start=1)
    arena.lane("in_flight", ("m",)).add(3)
    lane = other.lane("in_flight", ("m",))
    lane.add(5)
    other.counter("requests").add(7)
    assert shown(arena) == {("in_flight", "m"): 8, ("requests",): 7}
    assert arena.reap(0, lambda pid, start: pid != 2) == (1, 0)
    lane.add(100)  # a last breath
    assert shown(arena) == {("in_flight", "m"): 3, ("requests",): 7}
    heir = Arena.attach(arena.memory, SECRET, bytes(16))
    assert heir.join(pid=3, start=1) == other.slot
    assert shown(arena)["in_flight", "m"] == 3


def test_slots_run_out_and_come_back(arena: Arena) -> None:
    others = [Arena.attach(arena.memory, SECRET, bytes(16)) for _ in range(4)]
    start = native.process_start(1)
    assert start is not None
    assert arena.reap(0, lambda pid, start: False) == (1, 0)
    for other in others:
        other.join(pid=1, start=start)  # pid 1 always lives
    with pytest.raises(native.ArenaError, match="slots are taken"):
        Arena.attach(arena.memory, SECRET, bytes(16)).join()
    others[2].leave()
    assert Arena.attach(arena.memory, SECRET, bytes(16)).join() == 2
    assert [pid for _, pid, _ in arena.workers()] == [1, 1, os.getpid(), 1]


def test_leaving_gives_leases_back(arena: Arena) -> None:
    limit = arena.limit(digest("l"))
    lease = Gate(arena, [], [(limit, 2)]).admit(SECOND, FAR)
    arena.leave()
    assert limit.in_use == 0
    assert isinstance(lease, Lease)
    assert not lease.release()
    assert arena.workers() == []


def test_a_process_starts_once() -> None:
    assert native.process_start(1) == native.process_start(1)
    assert native.process_start((1 << 22) + 1) is None


# -- load


SAMPLES = st.tuples(st.integers(0, SECOND), st.floats(0, 1e6), st.sampled_from([0, 1, SECOND]))


@given(st.lists(SAMPLES, max_size=30))
def test_ewmas_agree_with_the_twin(samples: list[tuple[int, float, int]]) -> None:
    ewma, model = Arena.anonymous(SECRET, SMALL).ewma(bytes(16)), twin.Ewma()
    now = 0
    for wait, sample, tau in samples:
        now += wait
        assert ewma.update(now, sample, tau) == pytest.approx(model.update(now, sample, tau), rel=1e-12)
        assert ewma.stamp == model.stamp


def test_an_ewma_peaks_and_decays(arena: Arena) -> None:
    ewma = arena.ewma(digest("e"))
    assert ewma.update(SECOND, 10.0, SECOND) == 10.0
    assert ewma.update(2 * SECOND, 50.0, SECOND) == 50.0
    assert ewma.update(3 * SECOND, 0.0, SECOND) == pytest.approx(50 / math.e)
    for bad in (math.nan, math.inf, -1.0):
        assert ewma.update(4 * SECOND, bad, SECOND) == pytest.approx(50 / math.e)


@given(st.integers(0, 3), st.integers(0, (1 << 14) - 1), st.integers(0, (1 << 48) - 1))
def test_a_breaker_is_one_word(state: int, count: int, until: int) -> None:
    word = Arena.anonymous(SECRET, SMALL).word(bytes(16))
    packed = native.pack_breaker(state, count, until)
    assert word.compare_and_set(0, packed)
    assert native.unpack_breaker(word.value) == (state, count, until)
    assert word.compare_and_set(0, 1) == (packed == 0)


@pytest.mark.parametrize("parts", [(4, 0, 0), (0, 1 << 14, 0), (0, 0, 1 << 48), (-1, 0, 0)])
def test_a_breaker_refuses_what_does_not_fit(parts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        native.pack_breaker(*parts)


def test_samples_are_read_whole(arena: Arena) -> None:
    sample = arena.sample(digest("endpoint"))
    assert sample.read() is None
    sample.write(5, (1.0, 2.0))
    sample.write(6, (3.0,))
    assert arena.sample(digest("endpoint")).read() == (6, (3.0, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError):
        sample.write(7, (0.0,) * 6)


def test_load_without_room_is_kept_by_the_process(arena: Arena) -> None:
    ids = [digest(str(i)) for i in range(17)]
    for word in [arena.word(id) for id in ids]:
        word.set(word.value + 1)
    assert [arena.word(id).value for id in ids] == [1] * 16 + [0]
    assert arena.ewma(ids[16]).update(1, 2.0, 1) == 2.0
    samples = [arena.sample(id) for id in ids]
    samples[16].write(1, (9.0,))
    assert samples[16].read() == (1, (9.0, 0.0, 0.0, 0.0, 0.0))
