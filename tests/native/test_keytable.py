"""The key table against its twin and a dictionary; damaged tables; what its searches give away in steps and in time."""

import hashlib
import importlib.machinery
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from _native import keytable as native
from _native.keytable import (
    DAMAGED,
    DISABLED,
    EXPIRED,
    HEADER_SIZE,
    NONE,
    NOT_YET,
    PAGE_SIZE,
    REVOKED,
    ROW_SIZE,
    SWITCHED_OFF,
    TOMBSTONE,
    UNKNOWN,
    Bounds,
    KeyTableError,
    Row,
)
from _native.reference import keytable as twin

PEPPER = "0123abcd"
NOW = 1_700_000_000_000
BOUNDS = Bounds(4, 4, 4, 4, 4)


def digest(number: int) -> bytes:
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=32).digest()


def uniform(count: int, start: int = 0) -> list[Row]:
    return [Row(digest(n), n.to_bytes(16, "big"), n % 4, grant=n % 3) for n in range(start, start + count)]


#: Digests as a hash makes them, and ones that nobody's hash would: bunched at the ends, equal in their first bytes.
digests = st.one_of(
    st.integers(0, 400).map(digest),
    st.integers(0, 50).map(lambda n: n.to_bytes(16, "big") + digest(n)[:16]),
    st.integers(0, 50).map(lambda n: b"\xff" * 14 + n.to_bytes(2, "big") + digest(n)[:16]),
)
indexes = st.sampled_from([0, 1, 3, 4, 2**31, NONE - 1])
times = st.sampled_from([0, 1, NOW - 1, NOW, NOW + 1, 2**63 - 1])
rows = st.builds(
    Row,
    digests,
    st.binary(min_size=16, max_size=16),
    indexes,
    indexes | st.just(NONE),
    indexes | st.just(NONE),
    indexes,
    indexes | st.just(NONE),
    st.sampled_from([0, TOMBSTONE, DISABLED, DISABLED | TOMBSTONE, native.INSIGHT]),
    times,
    times,
    st.integers(0, 2),
)
tables = st.lists(rows, max_size=60, unique_by=lambda row: row.digest[:16])
bounds = st.sampled_from([None, BOUNDS, Bounds(0, 0, 0, 0, 0), Bounds(2**40, NONE, 5, 4, 0)])


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, in a form that compares equal across the kernel and its twin."""
    try:
        return call()
    except (KeyTableError, IndexError) as error:
        return type(error)


def test_kernel_is_compiled() -> None:
    assert native.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))


@given(tables, tables, bounds, st.lists(digests, max_size=20))
def test_kernel_and_twin_agree(under: list[Row], over: list[Row], most: Bounds | None, strangers: list[bytes]) -> None:
    base = native.build(under, PEPPER)
    assert base == twin.build(under, PEPPER)
    root = native.KeyTable.open(base).root
    delta = native.build(over, PEPPER, root)
    assert delta == twin.build(over, PEPPER, root)
    ours = native.KeyLookup(native.KeyTable.open(base), native.KeyTable.open(delta), most)
    pure = twin.KeyLookup(twin.KeyTable.open(base), twin.KeyTable.open(delta), most)
    assert len(ours) == len(pure) == len(under) + len(over)
    for wanted in [*strangers, *(row.digest for row in under), *(row.digest for row in over)]:
        assert ours.find(wanted, NOW) == pure.find(wanted, NOW)


@given(tables, tables)
def test_a_lookup_is_a_dictionary_with_the_delta_on_top(under: list[Row], over: list[Row]) -> None:
    base = native.KeyTable.open(native.build(under, PEPPER))
    lookup = native.KeyLookup(base, native.KeyTable.open(native.build(over, PEPPER, base.root)))
    known = {row.digest: row for row in [*under, *over]}
    for row in known.values():
        found = lookup.find(row.digest, NOW)
        if row.flags & TOMBSTONE:
            assert found == REVOKED
        elif row.flags & DISABLED:
            assert found == SWITCHED_OFF
        elif row.valid_until and row.valid_until <= NOW:
            assert found == EXPIRED
        elif row.valid_from > NOW:
            assert found == NOT_YET
        else:
            assert lookup.row(found) == row
            check_accessors(lookup, found, row)


def check_accessors(lookup: native.KeyLookup, at: int, row: Row) -> None:
    told = (lookup.tenant(at), lookup.team(at), lookup.user(at), lookup.grant(at), lookup.plan(at))
    assert told == tuple(-1 if index == NONE else index for index in row[2:7])
    assert (lookup.flags(at), lookup.valid_until(at), lookup.data_class(at)) == (row.flags, row.valid_until, row[10])
    assert lookup.key_id(at) == row.key_id


@given(tables, tables)
def test_a_merge_finds_what_base_and_delta_find(under: list[Row], over: list[Row]) -> None:
    base = native.build(under, PEPPER)
    root = native.KeyTable.open(base).root
    delta = native.build(over, PEPPER, root)
    known = {row.digest: row for row in [*under, *over]}
    assume(len({key[:16] for key in known}) == len(known))
    merged = native.merge(native.KeyTable.open(base), native.KeyTable.open(delta))
    assert merged == twin.merge(twin.KeyTable.open(base), twin.KeyTable.open(delta))
    assert merged == native.build((row for row in known.values() if not row.flags & TOMBSTONE), PEPPER)


@pytest.mark.parametrize("index", [-1, 3, 2**31, 2**62, -(2**62)])
def test_there_is_no_row_outside(index: int) -> None:
    table = native.KeyTable.open(native.build(uniform(3), PEPPER))
    lookup = native.KeyLookup(table)
    for holder in (table, lookup):
        with pytest.raises(IndexError):
            holder.row(index)
    assert lookup.key_id(index) == b""
    for number in (lookup.tenant, lookup.team, lookup.user, lookup.grant, lookup.plan, lookup.flags):
        assert number(index) == -1
    assert lookup.valid_until(index) == lookup.data_class(index) == -1


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_digest_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        native.KeyLookup(native.KeyTable.open(native.build([], PEPPER))).find(bytes(length), NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": bytes(31)},
        {"key_id": bytes(15)},
        {"tenant": -1},
        {"tenant": NONE},
        {"grant": NONE},
        {"team": 2**32},
        {"valid_from": -1},
        {"valid_until": -1},
        {"valid_until": 2**63},
        {"data_class": 3},
        {"data_class": 256},
    ],
    ids=str,
)
def test_a_row_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    row = uniform(1)[0]._replace(**changed)
    for module in (native, twin):
        with pytest.raises(KeyTableError):
            module.build([row], PEPPER)


def test_two_keys_of_one_digest_are_refused() -> None:
    first, other = uniform(2)
    for twice in (first, other._replace(digest=first.digest[:16] + other.digest[16:])):
        with pytest.raises(KeyTableError, match="same digest"):
            native.build([first, twice], PEPPER)


def test_tables_that_do_not_belong_together_are_refused() -> None:
    base = native.KeyTable.open(native.build(uniform(2), PEPPER))
    other = native.KeyTable.open(native.build(uniform(3), PEPPER, bytes(31) + b"1"))
    foreign = native.KeyTable.open(native.build(uniform(3), "ffffffff", base.root))
    for wrong in ((other, None), (base, base), (base, other), (base, foreign)):
        with pytest.raises(KeyTableError):
            native.KeyLookup(*wrong)


@given(st.integers(0, 30), st.binary(min_size=1, max_size=8), st.integers(0), st.integers(0, 3))
def test_a_damaged_table_is_refused_or_answers_as_the_twin_does(count: int, junk: bytes, at: int, how: int) -> None:
    whole = native.build(uniform(count), PEPPER)
    at %= len(whole) if how else HEADER_SIZE
    data = (
        whole[:at]
        if how == 1
        else whole + junk
        if how == 2
        else whole[:at] + junk + whole[at + len(junk) :]  # in the header more often than elsewhere
    )
    ours, pure = (outcome(lambda m=module: m.KeyTable.open(data)) for module in (native, twin))  # type: ignore[misc]
    if not isinstance(pure, twin.KeyTable):
        assert ours is pure
        return
    check_same_answers(ours, pure, [row.digest for row in uniform(count + 5)])


def check_same_answers(ours: Any, pure: Any, wanted: list[bytes]) -> None:
    for lookup, other in (
        (ours, pure),
        (outcome(lambda: native.KeyLookup(ours)), outcome(lambda: twin.KeyLookup(pure))),
    ):
        if isinstance(other, type):
            assert lookup is other
            continue
        for one in wanted:
            assert lookup.find(one, NOW) == other.find(one, NOW)
    assert [ours.row(at) for at in range(len(ours))] == [pure.row(at) for at in range(len(pure))]


@given(st.binary(max_size=4 * ROW_SIZE), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_rows_of_noise_lead_nowhere(noise: bytes, count: int, deepest: int) -> None:
    whole = bytearray(native.build(uniform(count), PEPPER))
    whole[28:32] = deepest.to_bytes(4, "little")
    body = (noise * (len(whole) // max(len(noise), 1) + 1))[: len(whole) - HEADER_SIZE]
    whole[HEADER_SIZE : HEADER_SIZE + len(body)] = body
    data = bytes(whole)
    check_same_answers(native.KeyTable.open(data), twin.KeyTable.open(data), [row.digest for row in uniform(20)])


def test_a_row_that_points_outside_the_policy_is_damaged() -> None:
    row = uniform(1)[0]
    for name in ("tenant", "team", "user", "grant", "plan"):
        outside: dict[str, Any] = {name: 4}
        data = native.build([row._replace(**outside)], PEPPER)
        assert native.KeyLookup(native.KeyTable.open(data), None, BOUNDS).find(row.digest, NOW) == DAMAGED
    table = native.KeyTable.open(native.build([row], PEPPER))
    assert native.KeyLookup(table, None, BOUNDS).find(row.digest, NOW) == 0


def test_every_edit_of_a_table_changes_its_root() -> None:
    data = native.build(uniform(3), PEPPER)
    root = native.KeyTable.open(data).root
    assert native.compute_root(data) == twin.compute_root(data) == root
    for at in range(len(data)):
        if not 80 <= at < 112:  # where the root itself stands
            edited = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            assert native.compute_root(edited) != root, at


@pytest.mark.parametrize("pages", [1, 2, 3, 4, 5, 8])
def test_pages_moved_or_left_out_change_the_root(pages: int) -> None:
    data = native.build(uniform(pages * PAGE_SIZE // (ROW_SIZE + 4)), PEPPER)
    header, body = data[:HEADER_SIZE], data[HEADER_SIZE:]
    leaves = [native.page_hash(body[at : at + PAGE_SIZE]) for at in range(0, len(body), PAGE_SIZE)]
    assert len(leaves) == pages
    root = native.root_of(header, leaves)
    assert root == native.compute_root(data)
    others = [leaves[:-1], [*leaves, leaves[-1]], *([leaves[::-1], leaves[1:] + leaves[:1]] if pages > 1 else [])]
    assert all(native.root_of(header, other) != root for other in others)


def test_opening_makes_no_object_per_row() -> None:
    data = native.build(uniform(20_000), PEPPER)
    before = sys.getallocatedblocks()
    table = native.KeyTable.open(data)
    lookup = native.KeyLookup(table)
    assert sys.getallocatedblocks() - before < 50
    assert len(lookup) == 20_000


def test_a_table_keeps_its_buffer() -> None:
    memory = bytearray(native.build(uniform(2), PEPPER))
    table = native.KeyTable.open(memory)
    with pytest.raises(BufferError):
        memory.clear()
    del table
    memory.clear()


class Counting(twin.KeyTable):
    """The twin, which notes how many rows each search looks at."""

    looks = 0

    def _is_below(self, index: int, digest: bytes) -> bool:
        self.looks += 1
        return super()._is_below(index, digest)


def test_every_search_takes_the_same_steps() -> None:
    table = Counting(native.build(uniform(3_000), PEPPER))
    counts = set()
    for wanted in [row.digest for row in uniform(6_000)] + [bytes(32), b"\xff" * 32]:
        table.looks = 0
        table.index_of(wanted)
        counts.add(table.looks)
    assert len(counts) == 1
    assert counts.pop() < 8


# --- time: a difference that an attacker could read off is one between the means of many look-ups in turn -------------

ROUNDS = 400
GROUP = 50
#: Nanoseconds per look-up that may lie between two kinds: the digest before it takes 700.
NOTICEABLE = 3.0


def kinds() -> tuple[native.KeyLookup, dict[str, list[bytes]]]:
    """A lookup, and presented digests of each kind, equally many and spread equally over the table."""
    made = uniform(20_000)
    changes: dict[str, dict[str, Any]] = {
        "good": {},
        "disabled": {"flags": DISABLED},
        "expired": {"valid_until": 1},
        "early": {"valid_from": NOW + 1},
    }
    names = [*changes, "revoked"]
    under = [row._replace(**changes.get(names[n % 5], {})) for n, row in enumerate(made)]
    base = native.KeyTable.open(native.build(under, PEPPER))
    gone = [row._replace(flags=TOMBSTONE) for row in under[4::5][:1000]]
    delta = native.KeyTable.open(native.build(gone, PEPPER, base.root))
    presented = {name: [bytes(row.digest) for row in under[n::5][:1000]] for n, name in enumerate(names)}
    presented["unknown"] = [row.digest for row in uniform(1000, 50_000)]
    return native.KeyLookup(base, delta), presented


def mean_times(find: Callable[[bytes, int], int], presented: dict[str, list[bytes]]) -> dict[str, float]:
    """The trimmed mean of ns per look-up of each kind, asked in random turns."""
    took: dict[str, list[float]] = {name: [] for name in presented}
    turns = random.Random(7)
    for _ in range(ROUNDS):
        for name in turns.sample(list(presented), len(presented)):
            asked = turns.sample(presented[name], GROUP)
            for one in asked:  # brings all of them as near as they get
                find(one, NOW)
            began = time.perf_counter_ns()
            for one in asked:
                find(one, NOW)
            took[name].append((time.perf_counter_ns() - began) / GROUP)
    return {name: statistics.mean(sorted(found)[: ROUNDS // 2]) for name, found in took.items()}


def spread(find: Callable[[bytes, int], int], presented: dict[str, list[bytes]]) -> float:
    """Between the slowest and the fastest kind; the least of some tries, as noise only adds."""
    found = []
    for _ in range(4):
        times = mean_times(find, presented)
        found.append(max(times.values()) - min(times.values()))
        if found[-1] < NOTICEABLE:
            break
    return min(found)


def test_refusals_cannot_be_told_apart_by_time() -> None:
    lookup, presented = kinds()
    del presented["good"]  # its row number is an object of its own, made for Python only
    reasons = {lookup.find(one, NOW) for group in presented.values() for one in group}
    assert reasons == {UNKNOWN, REVOKED, SWITCHED_OFF, EXPIRED, NOT_YET}
    assert spread(lookup.find, presented) < NOTICEABLE


def test_a_search_that_stops_early_would_be_noticed() -> None:
    lookup, presented = kinds()
    revoked = set(presented["revoked"])

    def find(wanted: bytes, now: int) -> int:
        return lookup.find(wanted, now) if wanted in revoked else UNKNOWN

    assert spread(find, {name: presented[name] for name in ("revoked", "unknown")}) > NOTICEABLE
