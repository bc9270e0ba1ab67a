"""The faults on bytes alone: where they fall must not depend on how the bytes were split."""

import itertools
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.faultd.course import Course
from loadtest.faultd.rules import (
    AnyRule,
    Bandwidth,
    Corrupt,
    Cut,
    Duplicate,
    FlowRule,
    Latency,
    Refuse,
    ResetOnAccept,
    RuleSet,
    Slice,
)

EVENTS = b"HTTP/1.1 200 OK\r\n\r\ndata: a\n\ndata: b\n\n: c\n\n\n\ndata: [DONE]\n\n"


def pass_through(rules: list[FlowRule], data: bytes, cuts: set[int]) -> tuple[bytes, str | None]:
    """Feeds `data` split at `cuts`; returns what passed and how it ended."""
    course, out = Course(rules, random.Random(0)), b""
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]
    for start, end in itertools.pairwise(edges):
        passing, how = course.cut(course.alter(data[start:end]))
        out += passing
        if how:
            return out, how
    return out, None


splits = st.sets(st.integers(1, len(EVENTS) - 1))


@given(splits, st.integers(0, len(EVENTS)))
def test_cut_after_bytes_passes_exactly_these(cuts: set[int], count: int) -> None:
    assert pass_through([Cut(after_bytes=count)], EVENTS, cuts) == (EVENTS[:count], "fin")


@pytest.mark.parametrize(
    ("count", "passed"), [(1, b"data: a\n\n"), (2, b"data: b\n\n"), (3, b": c\n\n"), (4, b": c\n\n\n\n")]
)
@given(cuts=splits)
def test_cut_after_events_passes_the_event_whole(cuts: set[int], count: int, passed: bytes) -> None:
    out, how = pass_through([Cut(after_events=count, how="rst")], EVENTS, cuts)
    assert how == "rst"
    assert out == EVENTS[: EVENTS.index(passed) + len(passed)]


@given(splits)
def test_cut_beyond_the_end_never_comes(cuts: set[int]) -> None:
    assert pass_through([Cut(after_events=6)], EVENTS, cuts) == (EVENTS, None)


@given(splits)
def test_the_earliest_of_several_cuts_wins(cuts: set[int]) -> None:
    rules = [Cut(after_bytes=30), Cut(after_bytes=7, how="stall"), Cut(after_events=1, how="rst")]
    assert pass_through(rules, EVENTS, cuts) == (EVENTS[:7], "stall")


def test_before_headers_passes_nothing() -> None:
    assert pass_through([Cut(before_headers=True, how="rst")], EVENTS, set()) == (b"", "rst")


@given(splits, st.integers(0, len(EVENTS) - 1))
def test_corrupt_overwrites_one_byte(cuts: set[int], offset: int) -> None:
    wanted = EVENTS[:offset] + b"\xff" + EVENTS[offset + 1 :]
    assert pass_through([Corrupt(offset=offset, byte=255)], EVENTS, cuts) == (wanted, None)


@given(splits, st.integers(0, len(EVENTS) - 1), st.integers(1, 9))
def test_duplicate_repeats_a_range(cuts: set[int], offset: int, length: int) -> None:
    end = offset + length
    wanted = EVENTS if end > len(EVENTS) else EVENTS[:end] + EVENTS[offset:end] + EVENTS[end:]
    assert pass_through([Duplicate(offset=offset, length=length)], EVENTS, cuts) == (wanted, None)


@given(splits)
def test_two_duplicates_of_the_sent_bytes(cuts: set[int]) -> None:
    out, _ = pass_through([Duplicate(offset=0, length=4), Duplicate(offset=10, length=2)], EVENTS, cuts)
    assert out == EVENTS[:4] * 2 + EVENTS[4:12] + EVENTS[10:12] + EVENTS[12:]


def test_slices_are_of_the_size_and_pause() -> None:
    pieces = list(Course([Slice(size=4, delay_ms=3)], random.Random(0)).pieces(b"0123456789"))
    assert pieces == [(b"0123", 0.003), (b"4567", 0.003), (b"89", 0.003)]


@given(st.integers(1, 10**7), st.integers(0, 20_000))
def test_bandwidth_takes_the_time_the_rate_says(rate: int, length: int) -> None:
    pieces = list(Course([Bandwidth(bytes_per_s=rate)], random.Random(0)).pieces(b"x" * length))
    assert sum(len(piece) for piece, _ in pieces) == length
    assert sum(pause for _, pause in pieces) == pytest.approx(length / rate)
    assert all(len(piece) <= max(1, rate * 0.02) for piece, _ in pieces)


def test_latency_stays_in_its_spread_and_is_never_negative() -> None:
    delays = [Course([Latency(mean_ms=50, jitter_ms=60)], random.Random(seed)).delay() for seed in range(300)]
    assert min(delays) == 0
    assert 0.1 < max(delays) <= 0.11


def test_rules_select_by_number_and_probability() -> None:
    rules = RuleSet(
        [Cut(after_bytes=1, connections=(2, 4)), Slice(size=1, probability=0.5), Latency(mean_ms=1)], seed=3
    )
    hits = [rules.select() for _ in range(400)]
    assert [number for number, hit in enumerate(hits, 1) if any(isinstance(rule, Cut) for rule in hit)] == [2, 4]
    assert 150 < sum(any(isinstance(rule, Slice) for rule in hit) for hit in hits) < 250
    assert all(any(isinstance(rule, Latency) for rule in hit) for hit in hits)
    again = RuleSet(rules.rules, seed=3)
    assert [again.select() for _ in range(400)] == hits


def test_probability_one_rule_never_moves_the_odds_of_another() -> None:
    alone = RuleSet([Slice(size=1, probability=0.5)], seed=1)
    with_refusal = RuleSet([Refuse(), Slice(size=1, probability=0.5)], seed=1)
    assert with_refusal.refusing
    assert [alone.select() for _ in range(50)] == [with_refusal.select() for _ in range(50)]


@pytest.mark.parametrize(
    "text",
    [
        b'{"fault":"cut"}',
        b'{"fault":"cut","after_bytes":1,"before_headers":true}',
        b'{"fault":"cut","after_events":1,"direction":"up"}',
        b'{"fault":"cut","after_bytes":1,"how":"bang"}',
        b'{"fault":"latency","mean_ms":-1}',
        b'{"fault":"slice","size":0}',
        b'{"fault":"corrupt","offset":1,"byte":256}',
        b'{"fault":"bandwidth","bytes_per_s":0}',
        b'{"fault":"slice","size":1,"probability":1.5}',
        b'{"fault":"slice","size":1,"connections":[0]}',
        b'{"fault":"slice","size":1,"colour":"red"}',
        b'{"fault":"gremlins"}',
    ],
)
def test_bad_rules_are_refused(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=AnyRule)


def test_every_field_of_every_rule_is_documented() -> None:
    definitions = msgspec.json.schema(AnyRule)["$defs"]
    assert len(definitions) == 9
    for name, schema in definitions.items():
        assert schema["description"], name
        fields = {key: field for key, field in schema["properties"].items() if key != "fault"}
        assert all("description" in str(field) for field in fields.values()), name


def test_rules_survive_json() -> None:
    rules = [Cut(after_events=3, how="rst", connections=(1,)), ResetOnAccept(probability=0.1), Refuse()]
    assert msgspec.json.decode(msgspec.json.encode(rules), type=list[AnyRule]) == rules
