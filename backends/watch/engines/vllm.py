"""vLLM's `/metrics`. With data parallelism there is a series for each engine: queues add up, cache shares average."""

from typing import Final

from backends.watch.exposition import read_page
from backends.watch.reading import Reading, Unreadable

_WAITING: Final = b"vllm:num_requests_waiting"
_RUNNING: Final = b"vllm:num_requests_running"
_KV: Final = (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc")  # the latter before V1
_PROMPT: Final = b"vllm:prompt_tokens_total"
_DONE: Final = b"vllm:request_success_total"
_NAMES: Final = (_WAITING, _RUNNING, *_KV, _PROMPT, _DONE)


def read(page: bytes, model: str | None) -> Reading:
    """What a page says. Raises Unreadable for one without vLLM's queue."""
    del model  # adapters and aliases wait in one queue, so every series of the page counts
    found = read_page(page, _NAMES)
    if not found.has(_WAITING, _RUNNING):
        raise Unreadable("its page has neither vllm:num_requests_waiting nor vllm:num_requests_running")
    return Reading(
        running=found.total(_RUNNING),
        waiting=found.total(_WAITING),
        kv_usage=found.mean(*_KV),
        prompt_tokens=found.total(_PROMPT),
        requests=found.total(_DONE),
    )
