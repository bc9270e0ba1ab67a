"""The golden table of usage shapes: what each provider reports, whole and streamed, and what of it is billed."""

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.dialects.billable import read_answer, read_billable
from backends.dialects.usage import IMPOSSIBLE
from scheduler.money import Billable, Reading


class Shape(NamedTuple):
    """One provider's answer, the same answer as events (in order), and what both are billed as."""

    name: str
    whole: Any
    events: list[Any]
    billed: Billable


def chunk(usage: Any, **more: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [], "usage": usage, **more}


OPENAI = {
    "prompt_tokens": 1117, "completion_tokens": 146, "total_tokens": 1263,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 100, "audio_tokens": 0, "accepted_prediction_tokens": 3, "rejected_prediction_tokens": 7,
    },
}  # fmt: skip
OPENAI_AUDIO = {
    "prompt_tokens": 120, "completion_tokens": 90, "total_tokens": 210,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 100, "text_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 70, "text_tokens": 20},
}  # fmt: skip
RESPONSES = {
    "input_tokens": 328, "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 28},
    "output_tokens": 52, "output_tokens_details": {"reasoning_tokens": 32}, "total_tokens": 380,
}  # fmt: skip
ANTHROPIC_START = {
    "input_tokens": 21, "cache_creation_input_tokens": 300, "cache_read_input_tokens": 188086, "output_tokens": 1,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
    "service_tier": "standard", "inference_geo": "global",
}  # fmt: skip
ANTHROPIC = {**ANTHROPIC_START, "output_tokens": 393, "server_tool_use": {"web_search_requests": 1}}
GEMINI = {
    "promptTokenCount": 1000, "cachedContentTokenCount": 600, "candidatesTokenCount": 40, "thoughtsTokenCount": 160,
    "toolUsePromptTokenCount": 30, "totalTokenCount": 1230,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}],
}  # fmt: skip
GEMINI_AUDIO = {
    "promptTokenCount": 500, "candidatesTokenCount": 20, "totalTokenCount": 520,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 400}],
}  # fmt: skip
OLLAMA = {"model": "llama3.2", "done": True, "prompt_eval_count": 26, "eval_count": 298, "total_duration": 5191566416}
DEEPSEEK = {
    "prompt_tokens": 500, "completion_tokens": 80, "total_tokens": 580, "prompt_cache_hit_tokens": 448,
    "prompt_cache_miss_tokens": 52, "completion_tokens_details": {"reasoning_tokens": 60},
    "prompt_tokens_details": {"cached_tokens": 448},
}  # fmt: skip
DEEPSEEK_OLD = {key: DEEPSEEK[key] for key in DEEPSEEK if key != "prompt_tokens_details"}
MOONSHOT = {"prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320, "cached_tokens": 256}
QWEN = {
    "prompt_tokens": 3019, "completion_tokens": 104, "total_tokens": 3123,
    "prompt_tokens_details": {
        "cached_tokens": 2048, "cache_creation_input_tokens": 900, "cache_type": "ephemeral",
        "cache_creation": {"ephemeral_5m_input_tokens": 900},
    },
}  # fmt: skip
QWEN_NATIVE = {
    "input_tokens": 500, "output_tokens": 70, "total_tokens": 570,
    "output_tokens_details": {"reasoning_tokens": 50}, "prompt_tokens_details": {"cached_tokens": 400},
}  # fmt: skip
ZHIPU = {
    "prompt_tokens": 82,
    "completion_tokens": 207,
    "total_tokens": 289,
    "prompt_tokens_details": {"cached_tokens": 2},
}
XAI = {
    "prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135, "prompt_tokens_details": {"cached_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 94},
}  # fmt: skip
VLLM = {"prompt_tokens": 12, "total_tokens": 19, "completion_tokens": 7, "prompt_tokens_details": None}
LITELLM = {
    "prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 30},
}  # fmt: skip


def vllm_at(count: int) -> dict[str, Any]:
    return {**VLLM, "completion_tokens": count, "total_tokens": 12 + count}


SHAPES = [
    Shape(
        "openai chat",
        {"object": "chat.completion", "choices": [{"message": {}}], "usage": OPENAI},
        [chunk(None), chunk(OPENAI)],
        Billable(93, 1024, 0, 46, 100),
    ),
    Shape(
        "openai audio",
        {"usage": OPENAI_AUDIO},
        [chunk(OPENAI_AUDIO)],
        Billable(20, output=20, audio_input=100, audio_output=70),
    ),
    Shape(
        "openai completions",
        {"object": "text_completion", "usage": {"prompt_tokens": 5, "completion_tokens": 7}},
        [chunk({"prompt_tokens": 5, "completion_tokens": 7})],
        Billable(5, output=7),
    ),
    Shape(
        "openai embeddings",
        {"object": "list", "usage": {"prompt_tokens": 8, "total_tokens": 8}},
        [{"object": "list", "usage": {"prompt_tokens": 8, "total_tokens": 8}}],
        Billable(8),
    ),
    Shape(
        "openai, usage beside content",
        {"usage": OPENAI},
        [chunk(OPENAI, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])],
        Billable(93, 1024, 0, 46, 100),
    ),
    Shape(
        "responses",
        {"object": "response", "usage": RESPONSES},
        [{"type": "response.completed", "response": {"id": "resp_1", "usage": RESPONSES}}],
        Billable(200, 100, 28, 20, 32),
    ),
    Shape(
        "anthropic",
        {"type": "message", "role": "assistant", "usage": ANTHROPIC},
        [
            {"type": "message_start", "message": {"id": "m", "usage": ANTHROPIC_START}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 393}},
        ],
        Billable(21, 188086, 200, 393, cache_write_long=100),
    ),
    Shape(
        "anthropic, all in the delta",
        {"type": "message", "usage": ANTHROPIC},
        [
            {"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}},
            {"type": "message_delta", "delta": {}, "usage": ANTHROPIC},
        ],
        Billable(21, 188086, 200, 393, cache_write_long=100),
    ),
    Shape(
        "anthropic, no caching",
        {"type": "message", "usage": {"input_tokens": 10, "output_tokens": 5}},
        [
            {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 2}}},
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}},
        ],
        Billable(10, output=5),
    ),
    Shape(
        "gemini",
        {"candidates": [], "usageMetadata": GEMINI, "modelVersion": "gemini-2.5-pro"},
        [{"usageMetadata": {"promptTokenCount": 1000, "totalTokenCount": 1000}}, {"usageMetadata": GEMINI}],
        Billable(430, 600, 0, 40, 160),
    ),
    Shape(
        "gemini audio",
        {"usageMetadata": GEMINI_AUDIO},
        [{"usageMetadata": GEMINI_AUDIO}],
        Billable(100, output=20, audio_input=400),
    ),
    Shape(
        "ollama",
        {**OLLAMA, "message": {"role": "assistant", "content": "Hi"}},
        [{"message": {"content": "H"}, "done": False}, {"message": {"content": ""}, **OLLAMA}],
        Billable(26, output=298),
    ),
    Shape(
        "vllm, usage in every chunk",
        {"usage": VLLM},
        [chunk(vllm_at(count)) for count in range(8)],
        Billable(12, output=7),
    ),
    Shape("deepseek", {"usage": DEEPSEEK}, [chunk(DEEPSEEK)], Billable(52, 448, 0, 20, 60)),
    Shape(
        "deepseek, hits and misses only", {"usage": DEEPSEEK_OLD}, [chunk(DEEPSEEK_OLD)], Billable(52, 448, 0, 20, 60)
    ),
    Shape(
        "moonshot, usage in the last choice",
        {"usage": MOONSHOT},
        [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": MOONSHOT}]}],
        Billable(44, 256, 0, 20),
    ),
    Shape("qwen, compatible mode", {"usage": QWEN}, [chunk(QWEN)], Billable(71, 2048, 900, 104)),
    Shape(
        "qwen, native",
        {"output": {}, "usage": QWEN_NATIVE},
        [
            {"usage": {"input_tokens": 500, "output_tokens": 3, "prompt_tokens_details": {"cached_tokens": 400}}},
            {"usage": QWEN_NATIVE},
        ],
        Billable(100, 400, 0, 20, 50),
    ),
    Shape("zhipu", {"usage": ZHIPU}, [chunk(ZHIPU)], Billable(80, 2, 0, 207)),
    Shape("mistral", {"usage": {**VLLM, "prompt_audio_seconds": None}}, [chunk(VLLM)], Billable(12, output=7)),
    Shape("xai, reasoning beside the answer", {"usage": XAI}, [chunk(XAI)], Billable(26, 6, 0, 9, 94)),
    Shape("groq", {"usage": VLLM}, [{"choices": [], "x_groq": {"id": "r", "usage": VLLM}}], Billable(12, output=7)),
    Shape("a proxy that says caching twice", {"usage": LITELLM}, [chunk(LITELLM)], Billable(10, 60, 30, 5)),
]
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
