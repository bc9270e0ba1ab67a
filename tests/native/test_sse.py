"""The server-sent events kernel against its corpus, its twin and every cut. No deadlines: machines may be loaded."""

import base64
import importlib.machinery
import json
import random
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _native import sse as native
from _native.reference import sse as twin

CORPORA = Path(__file__).parents[1] / "corpora"
Event = tuple[str, str, str]

PARTS = [
    b"data", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"event", b"error", b"id", b"retry", b"\0", b"x", b"data: x",
    b"data:y", b"event: error", b"event:error", b"event: ping", b"id: 7", b": comment", b"\xef\xbb\xbf", b"\xff",
    b"\xe4\xbd", b"\xa0", b"x" * 600,
]  # fmt: skip
STREAMS = st.lists(st.sampled_from(PARTS), max_size=24).map(b"".join)


def vectors(kind: str) -> list[Any]:
    lines = (CORPORA / "sse-vectors" / "vectors.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [pytest.param(row, id=row["id"]) for row in rows if row["class"] == kind]


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def parse(parts: Iterable[bytes], parser: Callable[[], Any] = native.EventParser) -> list[Event]:
    reader = parser()
    return [event for part in parts for event in reader.feed(part)]


def split(module: Any, parts: Iterable[bytes], limit: int) -> tuple[list[Any], Any]:
    """Everything a splitter shows: the frames and what is pending after each feed, and the rest."""
    splitter = module.FrameSplitter(limit)
    seen: list[Any] = []
    for part in parts:
        try:
            seen.append((splitter.feed(part), splitter.pending))
        except module.FrameTooLarge as error:
            seen.append(("too large", error.limit, error.frames, splitter.pending))
    return seen, splitter.flush()


def payloads(parts: Iterable[bytes]) -> list[bytes]:
    splitter = native.FrameSplitter(1 << 20)
    frames = [frame for part in parts for frame in splitter.feed(part)]
    return [native.join_data(frame) for frame in frames if native.classify(frame)[0]]


def test_kernel_is_compiled() -> None:
    assert native.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
    assert {"frame_end", "frame_data"} <= set(native.__pyx_capi__)  # type: ignore[attr-defined]  # not in the stub


@pytest.mark.parametrize("vector", vectors("spec"))
def test_vectors_in_every_cut(vector: dict[str, Any]) -> None:
    data = base64.b64decode(vector["b64"])
    expected = [(event["type"], event["data"], event["id"]) for event in vector["events"]]
    assert parse([data]) == expected
    assert parse([data], twin.EventParser) == expected
    assert parse(data[i : i + 1] for i in range(len(data))) == expected
    for cut in range(len(data) + 1):
        assert parse(pieces(data, [cut])) == expected
    chance = random.Random(vector["id"])
    for _ in range(50):
        assert parse(pieces(data, (chance.randrange(len(data) + 1) for _ in range(4)))) == expected


@pytest.mark.parametrize("vector", vectors("openai"))
def test_model_streams_come_apart_and_together(vector: dict[str, Any]) -> None:
    data = base64.b64decode(vector["b64"])
    if len(data) > 1 << 20:
        with pytest.raises(native.FrameTooLarge):
            native.FrameSplitter(1 << 20).feed(data)
        return
    expected = payloads([data])
    assert expected == [event[1].encode() for event in parse([data], twin.EventParser)]
    for cut in range(len(data) + 1):
        splitter = native.FrameSplitter(1 << 20)
        frames = [frame for part in pieces(data, [cut]) for frame in splitter.feed(part)]
        assert b"".join(frames) + splitter.flush() == data
        assert [native.join_data(frame) for frame in frames] == expected


def test_byte_order_mark_only_at_the_start() -> None:
    mark = b"\xef\xbb\xbf"
    data = mark + b"data: a\n\n" + mark + b"data: b\n\ndata: " + mark + b"\n\n"
    expected = [("message", "a", ""), ("message", "\ufeff", "")]
    assert parse([data]) == expected
    assert parse(data[i : i + 1] for i in range(len(data))) == expected
    assert parse([mark + mark + b"data: a\n\n"]) == []


def test_line_feed_after_a_cut_ends_no_frame() -> None:
    splitter = native.FrameSplitter(100)
    assert splitter.feed(b"data: a\r\n\r") == [b"data: a\r\n\r"]
    assert splitter.feed(b"\n") == []
    assert splitter.pending == 1
    frames = splitter.feed(b"data: b\r\n\r\n")
    assert frames == [b"\ndata: b\r\n\r\n"]
    assert native.classify(frames[0]) == (1, 7, 8, False)


def test_line_feed_after_a_cut_carriage_return_inside_a_frame() -> None:
    splitter = native.FrameSplitter(100)
    assert splitter.feed(b"data: a\r") == []
    assert splitter.feed(b"\n") == []
    assert splitter.feed(b"\n") == [b"data: a\r\n\n"]


def test_limit_counts_whole_and_unfinished_frames() -> None:
    splitter = native.FrameSplitter(9)
    assert splitter.feed(b"data: a\n\ndata: b\n") == [b"data: a\n\n"]
    assert splitter.feed(b"\n") == [b"data: b\n\n"]
    with pytest.raises(native.FrameTooLarge) as caught:
        splitter.feed(b"data: c\n\ndata: dd\n\n")
    assert caught.value.frames == [b"data: c\n\n"]
    with pytest.raises(native.FrameTooLarge):
        splitter.feed(b"\n")


def test_flush_starts_again() -> None:
    splitter = native.FrameSplitter(100)
    assert splitter.feed(b"data: a\r") == []
    assert splitter.flush() == b"data: a\r"
    assert splitter.feed(b"\n") == [b"\n"]
    assert splitter.flush() == b""


@pytest.mark.parametrize(
    ("frame", "kind", "data", "is_error"),
    [
        (b"data: x\n\n", 1, b"x", False),
        (b"data:x\r\n\r\n", 1, b"x", False),
        (b"data:  x\r\r", 1, b" x", False),
        (b"data\n\n", 1, b"", False),
        (b"data:\n\n", 1, b"", False),
        (b"event: error\ndata: {}\n\n", 1, b"{}", True),
        (b"data: {}\nevent:error\n\n", 1, b"{}", True),
        (b"event: errors\ndata: {}\n\n", 1, b"{}", False),
        (b"Event: error\n: event: error\n\n", 0, b"", False),
        (b": ping\n\n", 0, b"", False),
        (b"\n", 0, b"", False),
        (b"", 0, b"", False),
        (b"data: a\ndata: b\n\n", 2, b"a\nb", False),
        (b"data: a\ndata\ndata:c\n\n", 2, b"a\n\nc", False),
        (b"datas: a\n data: b\nid: 1\ndata: c\n\n", 1, b"c", False),
        (b"data: unfinished", 1, b"unfinished", False),
        (b"\ndata: x\n\n", 1, b"x", False),
        (b"data: " + b"x" * 2000 + b"\n\n", 1, b"x" * 2000, False),
    ],
)
def test_classify_and_join(frame: bytes, kind: int, data: bytes, is_error: bool) -> None:
    for module in (native, twin):
        lines, start, end, error = module.classify(frame)
        assert (lines, error) == (kind, is_error)
        assert frame[start:end] == data.split(b"\n")[0]
        assert module.join_data(frame) == data


def test_naughty_strings_pass_through() -> None:
    texts = [text for text in json.loads((CORPORA / "strings-blns" / "blns.json").read_text()) if "\n" not in text]
    stream = "".join(f"data: {text}\n\n" for text in texts if "\r" not in text).encode()
    assert [data for _, data, _ in parse([stream])] == [text for text in texts if "\r" not in text]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("length", [0, 1, 505, 506, 507, 511, 512, 513, 1018, 1500])
def test_lines_around_the_search_window(end: bytes, length: int) -> None:
    frame = b"data: " + b"x" * length + end + end
    assert native.FrameSplitter(1 << 20).feed(frame * 3) == [frame] * 3


@given(st.binary(max_size=64) | STREAMS)
def test_classify_is_the_same_as_the_twin(frame: bytes) -> None:
    assert native.classify(frame) == twin.classify(frame)
    assert native.join_data(frame) == twin.join_data(frame)


@given(STREAMS, st.lists(st.integers(0, 200), max_size=6), st.sampled_from([4, 20, 1 << 20]))
def test_splitter_is_the_same_as_the_twin(data: bytes, cuts: list[int], limit: int) -> None:
    parts = pieces(data, (min(cut, len(data)) for cut in cuts))
    assert split(native, parts, limit) == split(twin, parts, limit)


@given(STREAMS)
def test_every_cut_gives_the_same_events_and_bytes(data: bytes) -> None:
    expected, values = twin.events(data), payloads([data])
    assert parse([data]) == expected
    for cut in range(min(len(data), 100)):
        parts = pieces(data, [cut])
        assert parse(parts) == expected
        assert payloads(parts) == values
        seen, rest = split(native, parts, 1 << 20)
        assert b"".join(frame for frames, _ in seen for frame in frames) + rest == data


@given(st.binary(max_size=100), st.lists(st.integers(0, 100), max_size=5))
def test_parser_is_the_same_as_the_twin_on_bytes(data: bytes, cuts: list[int]) -> None:
    parts = pieces(data, (min(cut, len(data)) for cut in cuts))
    assert parse(parts) == parse(parts, twin.EventParser) == twin.events(data)
