"""The kernel that carries facts about endpoints between the arena and a worker's columns, against its plain twin."""

import os
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _native.arena import Arena, Sizes, digest, pack_breaker
from _native.facts import PART_FRESH, SAMPLE_HALF_LIFE, SAMPLE_STALE, Facts
from _native.reference import facts as reference
from scheduler.endpoint import EndpointTable

SIZES = Sizes(
    workers=4, families=8, series=16, lanes=16, histograms=1, buckets=16, limits=16, leases=8, cells=256, samples=64
)
COLUMNS = (
    "in_flight", "in_flight_elsewhere", "tokens", "tokens_elsewhere", "queued", "kv_usage", "throughput", "sampled_at",
    "ttft", "ttft_at", "out_until", "ramp_from",
)  # fmt: skip
NOW = 1000.0
SECRET, BOOT = bytes(16), bytes(range(16))


class Worker:
    """One process's arena, table and facts about two endpoints."""

    def __init__(self, memory: bytearray | None = None, kind: Any = Facts, pid: int = 1) -> None:
        if memory is None:
            self.arena = Arena.anonymous(SECRET, SIZES)
        else:
            self.arena = Arena.attach(memory, SECRET, BOOT)
        self.arena.join(os.getpid(), pid)
        self.table = EndpointTable()
        for name in ("one", "two"):
            self.table.slot(name, 1)
        self.kind = kind
        self.facts = kind(self.arena, [row(0, "one"), row(1, "two")])
        self.now = NOW

    def tick(self, seconds: float = 0.1) -> None:
        self.now += seconds
        self.excluded = self.facts.copy(*(getattr(self.table, name) for name in COLUMNS), self.now)

    def columns(self) -> dict[str, list[float]]:
        return {name: list(getattr(self.table, name)) for name in COLUMNS}

    def sample(self, name: str, at: float, *values: float) -> None:
        self.arena.sample(digest(name)).write(int(at * 1e9), values)

    def probe(self, name: str, state: int, until: float) -> None:
        self.arena.word(digest(name, "probe")).set(pack_breaker(state, 0, int(until * 1000)))


def row(slot: int, name: str) -> tuple[int, bytes, bytes, bytes, bytes, float]:
    return slot, digest(name, "part"), digest(name), digest(name, "probe"), digest(name, "ttft"), 2000.0


def pair_of_workers() -> tuple[Worker, Worker]:
    import mmap

    from _native.arena import layout_size

    memory = mmap.mmap(-1, layout_size(SIZES))
    Arena.format(memory, SECRET, SIZES, BOOT)
    first, second = Worker(memory, pid=1), Worker(memory, pid=2)  # type: ignore[arg-type]  # any buffer will do
    for one in (first, second):
        one.facts.meet([slot for slot, _, _ in one.arena.workers()])
    return first, second


def test_a_sample_becomes_columns_and_its_time() -> None:
    worker = Worker()
    worker.sample("one", NOW, 4096, 0.5, 9000, 3, 4)
    worker.tick()
    table = worker.table
    assert (table.queued[0], table.kv_usage[0], table.throughput[0], table.sampled_at[0]) == (
        4096,
        0.5,
        9000,
        pytest.approx(NOW),
    )
    assert (table.queued[1], table.throughput[1], table.sampled_at[1]) == (0, 2000, 0)  # as configured


def test_a_stale_speed_fades_to_what_is_configured_and_what_was_said_stays() -> None:
    worker = Worker()
    worker.sample("one", NOW, 8000, 0.8, 10_000)
    worker.tick(0.1)
    while worker.now < NOW + SAMPLE_STALE:
        worker.tick(0.1)
    assert worker.table.throughput[0] == pytest.approx(10_000, rel=0.03)
    at = worker.now
    while worker.now < at + SAMPLE_HALF_LIFE:
        worker.tick(0.1)
    assert worker.table.throughput[0] == pytest.approx(6000, rel=0.05)
    worker.tick(1000)  # the whole process stood still
    assert worker.table.throughput[0] == pytest.approx(2000)
    assert (worker.table.queued[0], worker.table.kv_usage[0]) == (8000, 0.8)
    worker.sample("one", worker.now, 100, 0, 0)
    worker.tick()
    assert (worker.table.queued[0], worker.table.throughput[0]) == (100, 2000)


@pytest.mark.parametrize("bad", [(float("nan"),), (-1.0,), (0.0, float("inf")), (0.0, 0.0, float("nan"))])
def test_a_sample_that_cannot_be_is_left_out(bad: tuple[float, ...]) -> None:
    worker = Worker()
    worker.sample("one", NOW, *bad)
    worker.tick()
    assert worker.table.sampled_at[0] == 0
    worker.sample("one", NOW + 500, 5)  # of the future
    worker.tick()
    assert worker.table.queued[0] == 0


def test_a_fresher_word_from_elsewhere_is_not_overwritten() -> None:
    worker = Worker()
    worker.sample("one", NOW, 4096, 0.5)
    worker.table.queued[0], worker.table.sampled_at[0] = 7, NOW + 0.05  # as a response's header said
    worker.tick()
    assert worker.table.queued[0] == 7


def test_a_probe_excludes_until_its_end_and_a_good_one_ends_it_at_once() -> None:
    worker = Worker()
    worker.probe("one", 2, NOW + 5)
    worker.tick()
    assert list(worker.table.out_until) == [NOW + 5, 0]
    assert worker.excluded == 1
    worker.probe("one", 2, NOW + 9)  # renewed
    worker.tick()
    assert worker.table.out_until[0] == NOW + 9
    worker.probe("one", 1, 0)
    worker.tick()
    assert (worker.table.out_until[0], worker.table.ramp_from[0]) == (0, worker.now)
    assert worker.excluded == 0


def test_an_exclusion_that_nobody_renews_ends_by_itself() -> None:
    worker = Worker()
    worker.probe("one", 2, NOW + 2)
    worker.tick()
    worker.tick(3)
    assert (worker.table.out_until[0], worker.table.ramp_from[0]) == (0, worker.now)


def test_an_exclusion_without_an_end_in_sight_is_not_believed() -> None:
    worker = Worker()
    worker.probe("one", 2, NOW + 1e7)
    worker.tick()
    assert worker.table.out_until[0] == 0


def test_a_breakers_exclusion_stays_when_the_probes_ends() -> None:
    worker = Worker()
    worker.table.out_until[0] = NOW + 3  # a breaker's
    worker.probe("one", 2, NOW + 5)
    worker.tick()
    assert worker.table.out_until[0] == NOW + 5
    worker.probe("one", 1, 0)
    worker.tick()
    assert (worker.table.out_until[0], worker.table.ramp_from[0]) == (NOW + 3, 0)
    worker.table.out_until[0] = NOW + 20  # a longer one than the probe's is left alone
    worker.probe("one", 2, NOW + 5)
    worker.tick()
    worker.probe("one", 1, 0)
    worker.tick()
    assert worker.table.out_until[0] == NOW + 20


def test_workers_know_what_the_others_have_running() -> None:
    first, second = pair_of_workers()
    first.table.in_flight[0], first.table.tokens[0] = 3, 1500.9
    first.tick()
    second.facts.meet([slot for slot, _, _ in second.arena.workers()])
    second.tick()
    assert (second.table.in_flight_elsewhere[0], second.table.tokens_elsewhere[0]) == (3, 1500)
    assert second.table.in_flight_elsewhere[1] == 0
    second.table.in_flight[0] = 2
    second.tick()
    first.facts.meet([slot for slot, _, _ in first.arena.workers()])
    first.tick(0.1)
    assert first.table.in_flight_elsewhere[0] == 2
    assert first.table.in_flight[0] == 3


def test_what_a_dead_worker_had_running_is_forgotten() -> None:
    first, second = pair_of_workers()
    first.table.in_flight[0] = 3
    first.tick()
    second.facts.meet([slot for slot, _, _ in second.arena.workers()])
    second.tick()
    assert second.table.in_flight_elsewhere[0] == 3
    second.tick(PART_FRESH)
    assert second.table.in_flight_elsewhere[0] == 0


def test_what_was_withdrawn_counts_no_more() -> None:
    first, second = pair_of_workers()
    first.table.in_flight[0] = 3
    first.tick()
    second.facts.meet([slot for slot, _, _ in second.arena.workers()])
    first.facts.withdraw()
    second.tick()
    assert second.table.in_flight_elsewhere[0] == 0


def test_first_token_times_are_one_mean_of_all_workers() -> None:
    first, second = pair_of_workers()
    first.table.ttft[0], first.table.ttft_at[0] = 0.25, NOW
    first.tick()
    second.tick()
    assert (second.table.ttft[0], second.table.ttft_at[0]) == (0.25, pytest.approx(NOW))
    second.table.ttft[0], second.table.ttft_at[0] = 0.5, NOW + 0.1
    second.tick()
    first.tick()
    assert first.table.ttft[0] == 0.5
    first.table.ttft[0], first.table.ttft_at[0] = float("nan"), NOW + 0.2
    first.tick()
    second.tick()
    assert second.table.ttft[0] == 0.5


def test_a_slot_that_is_not_there_is_refused() -> None:
    worker = Worker()
    worker.facts = Facts(worker.arena, [row(7, "one")])
    with pytest.raises(IndexError):
        worker.tick()
    with pytest.raises(ValueError, match="16 bytes"):
        Facts(worker.arena, [(0, b"short", digest("a"), digest("b"), digest("c"), 1.0)])


def test_without_room_in_the_arena_a_worker_is_alone() -> None:
    small = SIZES._replace(cells=1, samples=1)
    arena = Arena.anonymous(SECRET, small)
    arena.join()
    facts = Facts(arena, [row(0, "one"), row(1, "two")])
    table = EndpointTable()
    for name in ("one", "two"):
        table.slot(name, 1)
    facts.meet([0, 1])
    facts.copy(*(getattr(table, name) for name in COLUMNS), NOW)
    assert list(table.throughput) == [2000, 2000]


numbers = st.one_of(st.floats(0, 1e6), st.sampled_from([0.0, -1.0, float("nan"), float("inf")]))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("sample"), st.sampled_from(["one", "two"]), st.floats(-20, 3), numbers, numbers, numbers),
        st.tuples(st.just("probe"), st.sampled_from(["one", "two"]), st.integers(0, 3), st.integers(-5_000, 20_000)),
        st.tuples(st.just("breaker"), st.integers(0, 1), st.floats(-5, 20)),
        st.tuples(st.just("ttft"), st.integers(0, 1), numbers, st.sampled_from([-0.1, 0.0, 5.0])),
        st.tuples(st.just("told"), st.sampled_from(["one", "two"]), numbers),
        st.tuples(st.just("part"), st.sampled_from(["one", "two"]), st.integers(0, 99), st.floats(-2, 2)),
        st.tuples(st.just("run"), st.integers(0, 1), st.integers(0, 1000), st.floats(0, 1e9)),
        st.tuples(st.just("tick"), st.sampled_from([0.05, 0.1, 0.1, 0.7, 4.0, 30.0])),
    ),
    max_size=40,
)


def do(worker: Worker, step: tuple[Any, ...]) -> None:
    kind, *given = step
    if kind == "sample":
        worker.sample(given[0], worker.now + given[1], *given[2:])
    elif kind == "probe":
        worker.probe(given[0], given[1], max(0, worker.now + given[2] / 1000))
    elif kind == "breaker":
        worker.table.out_until[given[0]] = worker.now + given[1]
    elif kind == "ttft":
        worker.table.ttft[given[0]], worker.table.ttft_at[given[0]] = given[1], worker.now + given[2]
    elif kind == "told":
        bits = struct.unpack("<Q", struct.pack("<d", given[1]))[0]
        worker.arena.pair(digest(given[0], "ttft")).set(int((worker.now + 0.01) * 1e9), bits)
    elif kind == "part":
        other = worker.arena.pair(reference.part_id(digest(given[0], "part"), 2))
        other.set(int((worker.now + given[2]) * 1e9), given[1] << 32 | 7)
    elif kind == "run":
        worker.table.in_flight[given[0]], worker.table.tokens[given[0]] = given[1], given[2]
    else:
        worker.facts.meet([0, 2])
        worker.tick(given[0])


@given(steps)
@settings(max_examples=200)
def test_the_kernel_does_what_its_twin_does(todo: list[tuple[Any, ...]]) -> None:
    kernel, twin = Worker(), Worker(kind=reference.Facts)
    for step in [*todo, ("tick", 0.1)]:
        do(kernel, step)
        do(twin, step)
        if step[0] == "tick":
            assert kernel.excluded == twin.excluded
        for name, values in kernel.columns().items():
            assert values == pytest.approx(twin.columns()[name], nan_ok=True, rel=1e-9, abs=1e-12), name
    mine = reference.part_id(digest("one", "part"), 0)
    assert kernel.arena.pair(mine).read() == twin.arena.pair(mine).read()
