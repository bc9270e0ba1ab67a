"""What each provider reports, whole and streamed, and what of it is billed."""

from typing import Any, NamedTuple

from scheduler.money import Billable


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
