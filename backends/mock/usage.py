"""Token usage, told honestly or not. Pure functions.

The prompt's and the answer's counts are those of `tokens.count_tokens`; what is charged never follows a lie told here.
"""

from typing import Any

import msgspec

from backends.mock.fault import UsageShape

HUGE = 10**9


class Usage(msgspec.Struct, frozen=True):
    """Honest numbers, in tokens; `cached` is part of `prompt`."""

    prompt: int
    cached: int
    completion: int
    thoughts: int = 0
    """Tokens thought before; not part of `completion`."""


def openai_usage(usage: Usage) -> dict[str, Any]:
    """`usage` of chat completions and completions."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def responses_usage(usage: Usage) -> dict[str, Any]:
    """`usage` of a Responses object."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.completion,
    }


def anthropic_usage(usage: Usage) -> dict[str, Any]:
    """`usage` of a message; input_tokens exclude what came from the cache."""
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    }


def gemini_usage(usage: Usage) -> dict[str, Any]:
    """`usageMetadata` of a response: what is zero is left out, and thoughts stand beside the candidates' tokens."""
    counts = {
        "promptTokenCount": usage.prompt,
        "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.completion,
        "thoughtsTokenCount": usage.thoughts,
        "totalTokenCount": usage.prompt + usage.completion + usage.thoughts,
    }
    return {name: count for name, count in counts.items() if count}


def ollama_usage(usage: Usage) -> dict[str, Any]:
    """Counts and durations (ns) of an answer; what is zero is left out."""
    return {
        "prompt_eval_count": usage.prompt,
        "prompt_eval_duration": 1_000_000,
        "eval_count": usage.completion,
        "eval_duration": 3_000_000,
    }


def put_usage(target: dict[str, Any], tree: dict[str, Any], shape: UsageShape | None) -> None:
    """Sets `usage` of `target` to `tree` as bent by `shape`; "none" leaves it out."""
    if shape != "none":
        target["usage"] = bend(tree, shape)


def bend(tree: dict[str, Any], shape: UsageShape | None) -> dict[str, Any] | None:
    """`tree` with its numbers replaced by the lie, or None for "null"."""
    if shape == "null":
        return None
    return {key: bend(value, shape) if isinstance(value, dict) else _lie(value, shape) for key, value in tree.items()}


def _lie(value: int, shape: UsageShape | None) -> Any:
    if shape == "nan":
        return msgspec.Raw(b"NaN")
    return {"zero": 0, "negative": -value - 1, "huge": HUGE}.get(shape or "", value)
