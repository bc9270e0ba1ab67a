"""Usage said again in OpenAI's words is read as what it was: no dialect changes a bill."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _native.jsonscan import frame_facts
from backends.dialects.billable import find_usage, read_billable
from backends.dialects.totals import usage_of_reports
from backends.dialects.usage import read_usage
from scheduler.money import IMPOSSIBLE
from tests.dialects.shapes import SHAPES, Shape

COUNTS = st.integers(0, 100_000)
WRONG = st.one_of(COUNTS, st.integers(-5, -1), st.just(IMPOSSIBLE * 10), st.none(), st.just("x"), st.floats())
NAMES = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def again(*reports: bytes) -> bytes | None:
    usage = usage_of_reports(*reports)
    return None if usage is None else json.dumps(usage).encode()


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_every_known_shape_keeps_its_bill(shape: Shape) -> None:
    report = find_usage(json.dumps(shape.whole).encode())
    assert report is not None
    said = again(report)
    assert said is not None
    assert read_billable(said) == read_billable(report)


@given(st.dictionaries(st.sampled_from(NAMES), COUNTS), COUNTS, COUNTS, COUNTS)
def test_so_does_any_possible_one(counts: dict[str, int], short: int, long: int, thinking: int) -> None:
    report = dict[str, Any](counts)
    if "cache_creation_input_tokens" in counts:
        report["cache_creation_input_tokens"] = short + long
        report["cache_creation"] = {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}
    if "output_tokens" in counts:
        report["output_tokens_details"] = {"thinking_tokens": min(thinking, counts["output_tokens"])}
    data = json.dumps(report).encode()
    said, known = again(data), read_billable(data)
    assert (said is None and known is None) or (said is not None and read_billable(said) == known)


@given(st.dictionaries(st.sampled_from((*NAMES, "cache_creation")), WRONG))
def test_what_cannot_be_stays_disputed(counts: dict[str, Any]) -> None:
    data = json.dumps(counts).encode()
    said, known = again(data), read_billable(data)
    if said is None or known is None:
        assert said is known
        return
    found = read_billable(said)
    assert found is not None
    assert (found.disputed, found.prompt_known) == (known.disputed, known.prompt_known)
    assert found == known or known.usage.prompt > IMPOSSIBLE  # each part was cut to it, and then their sum is


def test_the_start_and_the_end_of_a_stream_make_one() -> None:
    start = b'{"input_tokens":25,"cache_read_input_tokens":5,"output_tokens":1}'
    usage = usage_of_reports(start, b'{"output_tokens":12}')
    assert usage is not None
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (30, 12, 42)


def test_the_request_path_reads_it_the_short_way() -> None:
    said = again(b'{"input_tokens":25,"cache_read_input_tokens":5,"output_tokens":12}')
    assert said is not None
    frame = b'{"choices":[],"usage":' + said + b"}"
    assert frame_facts(frame)[2] == said
    usage = read_usage(frame)
    assert usage is not None
    assert usage.parts is None  # nothing in it is odd
    assert (usage.prompt, usage.answer, usage.cached) == (30, 12, 5)
