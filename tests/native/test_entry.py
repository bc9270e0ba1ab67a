"""Records written value by value are what msgspec writes, and reach an appender as they would anybody else."""

import math
import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _native.entry import Entry, Memo
from _native.outbox import Appender, Segment, parse

SIZE = 1 << 18
EDGES = [edge + by for bits in (5, 7, 8, 15, 16, 31, 32, 62) for edge in (1 << bits, -(1 << bits)) for by in (-1, 0, 1)]
NAMES = {int: "whole", float: "real", bool: "flag", str: "text", bytes: "blob"}
integers = st.integers(-(2**63), 2**63 - 1) | st.sampled_from(EDGES)
values = st.none() | integers | st.floats() | st.booleans() | st.text(max_size=40) | st.binary(max_size=40)
nested = st.recursive(values, lambda inner: st.lists(inner, max_size=15), max_leaves=40)


def write(entry: Entry, value: Any) -> None:
    if value is None:
        entry.nothing()
    elif isinstance(value, list):
        entry.array(len(value))
        for each in value:
            write(entry, each)
    else:
        getattr(entry, NAMES[type(value)])(value)


def written(value: Any) -> bytes:
    entry = Entry()
    entry.begin()
    write(entry, value)
    return entry.take()


@given(nested)
def test_every_value_is_msgspecs(value: Any) -> None:
    assert written(value) == msgspec.msgpack.encode(value)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("of", [b"x", "x", "ü", "\U0001f511"])
def test_a_size_is_msgspecs_on_both_sides_of_every_bound(size: int, of: Any) -> None:
    assert written(of * size) == msgspec.msgpack.encode(of * size)


@given(st.lists(nested, min_size=1, max_size=4))
def test_a_buffer_that_was_used_shows_nothing_of_it(all_of_them: list[Any]) -> None:
    entry = Entry()
    for value in all_of_them:
        entry.begin()
        write(entry, value)
        assert entry.take() == msgspec.msgpack.encode(value)


def test_what_is_messagepack_already_is_copied() -> None:
    entry = Entry()
    assert entry.take() == b""
    entry.raw(b"")
    assert entry.take() == b""
    entry.begin()
    entry.array(2)
    entry.raw(msgspec.msgpack.encode({"a": 1}))
    entry.raw(b"")
    entry.real(math.inf)
    assert msgspec.msgpack.decode(entry.take()) == [{"a": 1}, math.inf]


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda entry: entry.text(None), TypeError),
        (lambda entry: entry.text(b"x"), TypeError),
        (lambda entry: entry.text("\ud800"), UnicodeEncodeError),
        (lambda entry: entry.blob(None), TypeError),
        (lambda entry: entry.raw(None), TypeError),
        (lambda entry: entry.whole(2**63), OverflowError),
        (lambda entry: entry.array(16), ValueError),
        (lambda entry: entry.array(-1), ValueError),
    ],
)
def test_what_has_no_form_is_refused(act: Callable[[Any], None], error: type[Exception]) -> None:
    with pytest.raises(error):
        act(Entry())


@pytest.fixture
def appender() -> Appender:
    fd = os.memfd_create("segment")
    os.truncate(fd, SIZE)
    made = Appender()
    made.offer(Segment(fd, SIZE, 7, 1))
    return made


def read(appender: Appender) -> list[bytes]:
    active = appender.active
    assert active is not None
    records, _ = parse(os.pread(active.fd, active.tail, 0)[128:], 128, 7, 1, 100)
    return [payload for _, payload, _ in records]


def test_an_appender_takes_it_out_of_the_buffer(appender: Appender) -> None:
    entry = Entry()
    puts = (entry.put_opening, entry.put, entry.put_closing)
    held = []
    for number, put in enumerate(puts):
        entry.begin()
        entry.whole(number)
        assert put(appender)
        held.append(appender.held)
    assert read(appender) == [b"\0", b"\1", b"\2"]
    assert held == [1, 1, 0]


def test_an_appender_without_room_takes_nothing(appender: Appender) -> None:
    entry = Entry()
    for size, taken in ((1 << 16, False), (60_000, True)):
        entry.begin()
        entry.raw(bytes(size + 1))
        assert entry.put(appender) is taken
    entry.begin()
    assert not entry.put(appender), "an empty record is none"
    assert appender.refused == 2


def test_whoever_stands_for_an_appender_gets_bytes() -> None:
    said: list[tuple[str, bytes]] = []

    class Stand:
        def put(self, data: bytes) -> bool:
            said.append(("put", data))
            return True

        def put_opening(self, data: bytes) -> bool:
            said.append(("opening", data))
            return False

        def put_closing(self, data: bytes) -> bool:
            raise OSError("no")

    entry, stand = Entry(), Stand()
    entry.begin()
    entry.flag(True)
    assert entry.put(stand)
    assert not entry.put_opening(stand)
    with pytest.raises(OSError, match="no"):
        entry.put_closing(stand)
    assert said == [("put", b"\xc3"), ("opening", b"\xc3")]


class Thing:
    """Equal to every other one."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing)

    def __hash__(self) -> int:
        raise AssertionError("nothing is hashed")


def test_a_memo_goes_by_identity() -> None:
    memo, one, other = Memo(), Thing(), Thing()
    memo.put(one, "one")
    assert memo.get(other) is None
    memo.put(other, "other")
    memo.put(None, "nobody")
    assert (memo.get(one), memo.get(other), memo.get(None)) == ("one", "other", "nobody")
    memo.put(one, "anew")
    assert memo.get(one) == "anew"


def test_a_memo_gives_nothing_of_another_and_keeps_most() -> None:
    memo, things = Memo(), [Thing() for _ in range(1_000)]
    for number, thing in enumerate(things):
        memo.put(thing, number)
    found = [memo.get(thing) for thing in things]
    assert all(one in (None, number) for number, one in enumerate(found))
    assert found.count(None) < 200


def test_a_memo_is_bounded() -> None:
    memo, things = Memo(), [Thing() for _ in range(50_000)]
    for thing in things:
        memo.put(thing, thing)
    assert 0 < sum(memo.get(thing) is not None for thing in things) <= 8_192
