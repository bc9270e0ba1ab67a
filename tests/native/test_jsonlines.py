"""Lines of JSON: what a parser reads back, the same text as the twin's, and whole lines whatever happens."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from _native import jsonlines as native
from _native.reference import jsonlines as twin

texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(2**63), 2**63 - 1)
members = st.one_of(
    st.tuples(st.just("text"), texts),
    st.tuples(st.just("integer"), st.none() | numbers),
    st.tuples(st.just("whole"), numbers),
    st.tuples(st.just("flag"), st.booleans()),
    st.tuples(st.just("texts"), st.none() | st.lists(texts.filter(lambda text: text is not None), max_size=3)),
    st.tuples(st.just("real"), st.none() | st.floats(), st.integers(0, 9)),
)


def write(module: Any, line: list[tuple[Any, ...]]) -> bytes:
    """One line with these members, named by their places."""
    lines = module.JsonLines()
    lines.begin()
    for number, (kind, *values) in enumerate(line):
        getattr(lines, kind)(f"m{number}", *values)
    lines.end()
    return bytes(lines.take())


@given(st.lists(members, max_size=8))
@example([("text", 'a"b\\c\x00\x1f\x7f\u00e9\u4f60\U0001f600' + "x" * 40)])
@example([("whole", -(2**63)), ("whole", 2**63 - 1), ("whole", 0)])
@example(
    [("real", value, places) for value in (0.0, -0.0, 0.0004, -0.0004, 9e9, 9.1e9, math.nan) for places in (0, 3, 9)]
)
def test_a_line_says_what_was_written(line: list[tuple[Any, ...]]) -> None:
    written = write(native, line)
    assert written == write(twin, line)
    assert written.count(b"\n") == 1
    read = json.loads(written)
    assert list(read) == [f"m{number}" for number in range(len(line))]
    for value, (kind, given_value, *rest) in zip(read.values(), line, strict=True):
        if kind != "real" or given_value is None or not abs(given_value) <= 9e9:
            assert value == (given_value if kind != "real" else None)
        else:
            assert value == pytest.approx(given_value, abs=0.5000001 * 10 ** -rest[0], rel=1e-15)


def test_lines_wait_until_they_are_taken() -> None:
    lines = native.JsonLines()
    for number in range(5_000):
        lines.begin()
        lines.whole("n", number)
        lines.end()
    assert lines.count == 5_000
    assert [json.loads(line)["n"] for line in lines.take().splitlines()] == list(range(5_000))
    assert (lines.count, lines.take()) == (0, b"")


def test_an_open_line_is_not_taken_and_not_lost() -> None:
    lines = native.JsonLines()
    lines.begin()
    lines.end()
    lines.begin()
    lines.text("a", "b")
    assert lines.take() == b"{}\n"
    lines.whole("c", 1)
    lines.end()
    assert lines.take() == b'{"a":"b","c":1}\n'


def test_a_line_that_is_given_up_leaves_nothing() -> None:
    lines = native.JsonLines()
    lines.begin()
    lines.whole("a", 1)
    lines.cancel()
    assert (lines.count, lines.take()) == (0, b"")
    lines.begin()
    lines.whole("b", 2)
    lines.begin()
    lines.end()
    assert lines.take() == b"{}\n"


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_a_lone_surrogate_is_refused(text: str) -> None:
    lines = native.JsonLines()
    lines.begin()
    with pytest.raises(UnicodeEncodeError):
        lines.text("a", text)


def test_numbers_and_places_have_bounds() -> None:
    lines = native.JsonLines()
    lines.begin()
    with pytest.raises(OverflowError):
        lines.integer("a", 2**63)
    for places in (-1, 10):
        with pytest.raises(ValueError, match="decimals"):
            lines.real("a", 1.0, places)
