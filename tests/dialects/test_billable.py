"""The golden table of usage shapes: what each provider reports, whole and streamed, and what of it is billed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.dialects.billable import read_answer, read_billable
from scheduler.money import IMPOSSIBLE, Billable, Reading
from tests.dialects.shapes import (
    ANTHROPIC,
    DEEPSEEK,
    GEMINI,
    MOONSHOT,
    OPENAI,
    RESPONSES,
    SHAPES,
    Shape,
    chunk,
    vllm_at,
)

BY_NAME = pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])


@BY_NAME
def test_a_whole_answer_is_billed_by_its_usage(shape: Shape) -> None:
    assert read_answer(encode(shape.whole)) == Reading(shape.billed)


@BY_NAME
def test_a_stream_is_billed_as_the_whole_answer(shape: Shape) -> None:
    """By its last report; Anthropic's needs its first too, and for the others the first changes nothing."""
    head = encode(shape.events[0]) if len(shape.events) > 1 else None
    assert read_answer(encode(shape.events[-1]), head) == Reading(shape.billed)


@BY_NAME
def test_every_token_is_billed_once(shape: Shape) -> None:
    usage = shape.whole.get("usage") or shape.whole.get("usageMetadata") or {}
    total = usage.get("total_tokens", usage.get("totalTokenCount"))
    if total is not None:
        assert shape.billed.prompt + shape.billed.answer == total


def test_a_stream_that_is_cut_is_billed_by_what_it_last_said() -> None:
    assert read_answer(encode(chunk(vllm_at(3)))) == Reading(Billable(12, output=3))


def test_counts_in_a_stream_never_fall() -> None:
    late, early = encode(vllm_at(7)), encode(vllm_at(3))
    assert read_billable(early, late) == read_billable(late, early) == Reading(Billable(12, output=7))


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"[1]",
        b"{}",
        b'{"usage":null}',
        b'{"choices":null}',
        b'{"usage":{}}',
        b'{"usageMetadata":null}',
        b'{"message":"usage"}',
        b"\xff",
        b'{"choices":[{"usage":null}]}',
        b'{"choices":[1]}',
        b'{"usage":{"cost":0.1}}',
    ],
)
def test_nothing_said(data: bytes | None) -> None:
    assert read_answer(data) is None


def test_what_is_not_said_is_not_known() -> None:
    reading = read_answer(encode({"usage": {"completion_tokens": 7}}))
    assert reading == Reading(Billable(output=7), prompt_known=False)
    reading = read_answer(encode({"done": True, "eval_count": 9}))  # Ollama, when its cache had the whole prompt
    assert reading == Reading(Billable(output=9), prompt_known=False)
    reading = read_answer(encode({"usage": {"prompt_tokens": 7}}))
    assert reading == Reading(Billable(7), answer_known=False)


def test_geminis_thoughts_stand_beside_its_answer_unless_the_total_says_otherwise() -> None:
    counts = {"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 3}
    for total, answer in ((None, 5), (18, 5), (15, 2)):
        reading = read_answer(encode({"usageMetadata": {**counts, "totalTokenCount": total}}))
        assert reading == Reading(Billable(10, output=answer, reasoning=3))


def test_zero_is_a_value() -> None:
    assert read_answer(encode({"usage": {"prompt_tokens": 0, "completion_tokens": 0}})) == Reading(Billable())


LIES = [-1, -(10**30), 3.5, 1e300, "7", "", True, [], [7], {}, {"tokens": 7}]


@pytest.mark.parametrize("lie", LIES, ids=repr)
def test_what_is_no_count_is_disputed_and_not_known(lie: Any) -> None:
    reading = read_answer(encode({"usage": {"prompt_tokens": 12, "completion_tokens": lie}}))
    assert reading == Reading(Billable(12), disputed=True, answer_known=False)
    reading = read_answer(encode({"usageMetadata": {"promptTokenCount": lie, "candidatesTokenCount": 7}}))
    assert reading == Reading(Billable(output=7), disputed=True, prompt_known=False)
    reading = read_answer(encode({"type": "message", "usage": {"input_tokens": lie, "output_tokens": 7}}))
    assert reading == Reading(Billable(output=7), disputed=True, prompt_known=False)
    reading = read_answer(encode({"done": True, "prompt_eval_count": 12, "eval_count": lie}))
    assert reading == Reading(Billable(12), disputed=True, answer_known=False)


@pytest.mark.parametrize("huge", [10**9, IMPOSSIBLE + 1, 2**63, 10**40])
def test_a_count_that_no_request_has_is_disputed_and_cut(huge: int) -> None:
    reading = read_answer(encode({"usage": {"prompt_tokens": 12, "completion_tokens": huge}}))
    assert reading == Reading(Billable(12, output=IMPOSSIBLE), disputed=True)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "01", "0x10", "1e", "--1"])
def test_what_is_not_json_is_disputed(number: str) -> None:
    reading = read_answer(b'{"usage":{"prompt_tokens":3,"completion_tokens":%b}}' % number.encode())
    assert reading == Reading(Billable(), disputed=True, prompt_known=False, answer_known=False)


@pytest.mark.parametrize("usage", [7, "many", [1, 2], True, 3.5])
def test_a_usage_that_is_no_object_is_disputed(usage: Any) -> None:
    reading = read_answer(encode({"usage": usage}))
    assert reading == Reading(Billable(), disputed=True, prompt_known=False, answer_known=False)


def test_a_part_that_exceeds_its_whole_is_disputed_and_cut() -> None:
    reading = read_answer(encode({"usage": {**OPENAI, "prompt_tokens_details": {"cached_tokens": 5000}}}))
    assert reading == Reading(Billable(0, 1117, 0, 46, 100), disputed=True)
    reading = read_answer(encode({"usage": {"prompt_tokens": 1, "completion_tokens": 5,
                                            "completion_tokens_details": {"reasoning_tokens": 9}}}))  # fmt: skip
    assert reading == Reading(Billable(1, 0, 0, 0, 5), disputed=True)


def test_details_that_are_no_details_do_not_hide_the_counts() -> None:
    reading = read_answer(encode({"usage": {**OPENAI, "prompt_tokens_details": [], "completion_tokens_details": 4}}))
    assert reading == Reading(Billable(1117, output=146), disputed=True)


def test_cached_audio_is_billed_once() -> None:
    details = {"cached_tokens": 90, "audio_tokens": 80}
    reading = read_answer(
        encode({"usage": {"prompt_tokens": 100, "completion_tokens": 0, "prompt_tokens_details": details}})
    )
    assert reading == Reading(Billable(0, 90, audio_input=10))


COUNTS = st.one_of(st.integers(-10, 300), st.integers(), st.none(), st.floats(), st.text(max_size=3), st.booleans())
DETAILS = st.one_of(
    COUNTS,
    st.dictionaries(
        st.sampled_from(["cached_tokens", "audio_tokens", "reasoning_tokens", "cache_write_tokens"]), COUNTS
    ),
)
USAGES = st.dictionaries(
    st.sampled_from([*OPENAI, *RESPONSES, *ANTHROPIC, *DEEPSEEK, *MOONSHOT, *GEMINI]), DETAILS, max_size=9
)


@given(st.lists(USAGES, min_size=1, max_size=3))
def test_whatever_is_reported_no_part_is_negative_or_lost(usages: list[Any]) -> None:
    reading = read_billable(*[json.dumps(usage).encode() for usage in usages])
    if reading is None:
        return
    parts = [getattr(reading.usage, name) for name in Billable.__struct_fields__]
    assert all(type(part) is int and 0 <= part <= 4 * IMPOSSIBLE for part in parts)
    assert reading.prompt_known or reading.usage.prompt == 0
    assert reading.answer_known or reading.usage.answer == 0


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(data: bytes) -> None:
    read_answer(data, data)
    read_billable(data)


def test_an_answer_cut_anywhere_is_never_billed_wrongly() -> None:
    whole = encode({"choices": [], "usage": OPENAI})
    for end in range(len(whole)):
        reading = read_answer(whole[:end])
        assert reading is None or not (reading.prompt_known or reading.answer_known)


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()
