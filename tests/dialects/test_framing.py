"""A provider's stream may be cut anywhere: its events come out the same."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.dialects.dialect import BadAnswer
from backends.dialects.framing import Events, Framing, Lines

EVENTS = (
    b'\xef\xbb\xbfevent: a\r\ndata: {"x": 1}\r\n\r\n: comment\n\n'
    b"data: {\ndata: }\n\nid: 7\n\ndata: \xc3\xa9\r\rdata: last"
)
FOUND = [b'{"x": 1}', b"{\n}", b"\xc3\xa9", b"last"]
LINES = b'{"a":1}\n\n{"b":"\xc3\xa9"}\r\n  \n{"c":3}'


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def read(framing: Framing, data: bytes, cuts: list[int]) -> list[bytes]:
    found = [event for piece in pieces(data, cuts) for event in framing.feed(piece)]
    return found + framing.flush()


@given(st.lists(st.integers(0, 200), max_size=8))
def test_events_come_out_the_same_wherever_they_are_cut(cuts: list[int]) -> None:
    assert read(Events(), EVENTS, cuts) == FOUND


@given(st.lists(st.integers(0, 200), max_size=8))
def test_lines_come_out_the_same_wherever_they_are_cut(cuts: list[int]) -> None:
    assert read(Lines(), LINES, cuts) == [b'{"a":1}', b'{"b":"\xc3\xa9"}', b'{"c":3}']


@pytest.mark.parametrize("framing", [Events(64), Lines(64)])
def test_an_event_without_end_is_not_held_for_ever(framing: Framing) -> None:
    framing.feed(b"data: " + b"x" * 40)
    with pytest.raises(BadAnswer):
        framing.feed(b"x" * 40)
