"""Where each engine's page is, from the root of its server: known without loading what reads it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from backends.watch.plan import Engine

PATHS: Final[Mapping[Engine, str]] = MappingProxyType(
    {
        "vllm": "/metrics",
        "sglang": "/metrics",
        "ollama": "/api/ps",
        "llama.cpp": "/metrics",
        "triton": "/metrics",
        "tensorrt-llm": "/prometheus/metrics",
    }
)
