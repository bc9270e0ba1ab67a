"""Settings of one mock model server. Plain frozen data, safe to share."""

from typing import Literal

import msgspec


class MockOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the mock pretends to be. Raises ValueError when a number makes no sense."""

    models: tuple[str, ...] = ("mock-model",)
    """Names that are served; any other name is a 404 `model_not_found`. The first is the default for uploads."""

    engine: Literal["vllm", "sglang", "llama.cpp"] = "vllm"
    """In whose words `/metrics` tells how busy it is."""

    ttft: float = 0.0
    """Seconds from the complete request to the first token, when nothing of the prompt is cached."""

    rate: float = 0.0
    """Tokens a second after the first one; 0 sends as fast as the socket takes them."""

    tokens: int = 32
    """Length of an answer in tokens (of 4 bytes) when the request's own limit is not smaller."""

    slots: int = 0
    """Requests that run at once; later ones wait in order of arrival. 0 means no limit."""

    prefix_cache: bool = False
    """Whether prompts that share their first 16-token blocks report `cached_tokens` and start sooner."""

    cache_blocks: int = 65_536
    """Blocks of 16 tokens the prefix cache holds; the least recently used go first."""

    input_price: int = 0
    """Nano-units charged per prompt token."""

    cached_price: int | None = None
    """Nano-units charged per cached prompt token; None charges `input_price`."""

    output_price: int = 0
    """Nano-units charged per generated token."""

    api_key: str | None = None
    """When set, requests under /v1 without it (Bearer, x-api-key or api-key) get a 401."""

    seed: int = 0
    """Changes every answer; two servers with one seed answer alike."""

    vary: bool = False
    """Whether the same prompt gets another answer each time (the request's number joins the seed)."""

    dimensions: int = 64
    """Length of embedding vectors when the request does not say."""

    body_limit: int = 64 * 1024 * 1024
    """Bytes of a request body that are accepted; a longer one is a 413."""

    keep: int = 100_000
    """Records kept in memory; the oldest go first. The log file keeps all."""

    def __post_init__(self) -> None:
        negative = [
            name
            for name in ("ttft", "rate", "tokens", "slots", "cache_blocks", "input_price", "output_price", "body_limit")
            if getattr(self, name) < 0
        ]
        if negative:
            raise ValueError(f"must not be negative: {', '.join(negative)}")
        if not self.models:
            raise ValueError("models must name at least one model")
        if self.dimensions < 1:
            raise ValueError("dimensions must be at least 1")


DEMO = MockOptions(ttft=0.2, rate=50.0, tokens=64)
"""A demo that reads like a model: the command line starts from it."""
