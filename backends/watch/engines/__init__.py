"""One module for each family of engines: how its page becomes a `Reading`. Pure functions over bytes.

To add a family: a module with `read`, its name in `plan.Engine`, its path in `paths`, and its line below.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from backends.watch.engines import llamacpp, ollama, sglang, tensorrt_llm, triton, vllm
from backends.watch.plan import Engine
from backends.watch.reading import Reading

#: The page and the model's name over there (None: whatever is served) -> what it says. Raises Unreadable.
READERS: Final[Mapping[Engine, Callable[[bytes, str | None], Reading]]] = MappingProxyType(
    {
        "vllm": vllm.read,
        "sglang": sglang.read,
        "ollama": ollama.read,
        "llama.cpp": llamacpp.read,
        "triton": triton.read,
        "tensorrt-llm": tensorrt_llm.read,
    }
)
