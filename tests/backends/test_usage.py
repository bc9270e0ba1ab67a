"""The short way to an answer's usage and the long one say the same; what is odd always takes the long one."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.dialects.billable import read_answer, read_billable
from backends.dialects.usage import Usage, read_usage, usage_from, usage_of
from scheduler.money import IMPOSSIBLE, Billable, Reading
from tests.dialects.shapes import SHAPES, Shape

USUAL = {
    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0, "accepted_prediction_tokens": 1},
}  # fmt: skip


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def facts(usage: Usage | None) -> Any:
    if usage is None:
        return None
    return usage.prompt, usage.answer, usage.cached, usage.reasoning, usage.reading()


def test_the_usual_shape_is_read_without_building_a_bill() -> None:
    usage = usage_of(encode(USUAL))
    assert usage is not None
    assert usage.parts is None
    assert facts(usage) == (10, 5, 4, 2, Reading(Billable(6, 4, 0, 3, 2)))


@pytest.mark.parametrize(
    "more",
    [
        {"prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 3}},
        {"completion_tokens_details": {"audio_tokens": 3}},
        {"prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 3}},
        {"cache_creation_input_tokens": 3},
        {"prompt_cache_hit_tokens": 3},
        {"cached_tokens": 3},
        {"total_tokens": 17},  # the reasoning stands beside the answer
        {"prompt_tokens_details": {"cached_tokens": 11}},
        {"completion_tokens_details": {"reasoning_tokens": 6}},
        {"prompt_tokens": None, "input_tokens": 10},
        {"prompt_tokens": IMPOSSIBLE + 1},
        {"completion_tokens": 2.0},
    ],
    ids=json.dumps,
)
def test_what_is_billed_by_more_than_four_totals_is_read_in_full(more: dict[str, Any]) -> None:
    raw = encode(USUAL | more)
    usage = usage_of(raw)
    assert usage is not None
    assert usage.parts is not None
    assert usage.reading() == read_billable(raw)


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_every_providers_shape_whole_and_streamed(shape: Shape) -> None:
    whole = read_usage(encode(shape.whole))
    head = encode(shape.events[0]) if len(shape.events) > 1 else None
    streamed = read_usage(encode(shape.events[-1]), head)
    for usage in (whole, streamed):
        assert usage is not None
        assert usage.reading() == Reading(shape.billed)
        assert (usage.prompt, usage.answer) == (shape.billed.prompt, shape.billed.answer)
        assert (usage.cached, usage.reasoning) == (shape.billed.cached, shape.billed.reasoning)


@pytest.mark.parametrize("data", [None, b"", b"{", b"\xff", b"{}", b'{"usage":null}', b'{"usage":{}}', b'"usage"'])
def test_nothing_to_read(data: bytes | None) -> None:
    assert read_usage(data) is None


def test_what_is_no_json_is_disputed_where_it_speaks_of_usage() -> None:
    usage = read_usage(b'{"usage":{"prompt_tokens":NaN}}')
    assert usage is not None
    assert (usage.disputed, usage.prompt_known, usage.answer_known) == (True, False, False)


def test_a_record_keeps_what_was_decided_as_it_keeps_what_was_read() -> None:
    billed = Billable(1, 2, 3, 4, 5, 6, 7, 8, 9)
    usage = usage_from(Reading(billed))
    assert usage is not None
    assert usage.billable() == billed
    assert usage_from(None) is None


counts = st.none() | st.integers(-3, 3) | st.integers(0, 2 * IMPOSSIBLE) | st.sampled_from([1.0, "7", True, [], {}])
NAMES = [
    "prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "cached_tokens", "cache_read_input_tokens",
    "prompt_cache_hit_tokens", "eval_count", "x",
]  # fmt: skip
DETAILS = ["cached_tokens", "reasoning_tokens", "audio_tokens", "cache_write_tokens", "thinking_tokens", "x"]
details = st.none() | st.dictionaries(st.sampled_from(DETAILS), counts)
usages = st.builds(
    lambda flat, deep: flat | deep,
    st.dictionaries(st.sampled_from(NAMES), counts),
    st.dictionaries(st.sampled_from([f"{side}_tokens_details" for side in ("prompt", "completion", "input")]), details),
)


@given(usages)
@example({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}})
@example({"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 10, "completion_tokens_details": {"x": 1}})
def test_the_short_way_says_what_the_long_way_says(usage: dict[str, Any]) -> None:
    raw = encode(usage)
    found, long = usage_of(raw), read_billable(raw)
    assert (None if found is None else found.reading()) == long
    whole = read_usage(encode({"usage": usage}))
    assert (None if whole is None else whole.reading()) == read_answer(encode({"usage": usage}))
