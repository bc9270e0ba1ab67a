"""TensorRT-LLM's own server (`trtllm-serve`): its Prometheus page."""

from typing import Final

from backends.watch.exposition import read_page
from backends.watch.reading import Reading, Unreadable

_WAITING: Final = b"trtllm_num_requests_waiting"
_RUNNING: Final = b"trtllm_num_requests_running"
_KV: Final = b"trtllm_kv_cache_utilization"
_DONE: Final = b"trtllm_request_success_total"
_NAMES: Final = (_WAITING, _RUNNING, _KV, _DONE)


def read(page: bytes, model: str | None) -> Reading:
    """What a page says. Raises Unreadable for one that tells no load."""
    del model
    found = read_page(page, _NAMES)
    if not found.has(_WAITING, _RUNNING, _KV):
        raise Unreadable("its page has none of trtllm_num_requests_waiting, ..._running, trtllm_kv_cache_utilization")
    return Reading(
        running=found.total(_RUNNING),
        waiting=found.total(_WAITING),
        kv_usage=found.mean(_KV),
        requests=found.total(_DONE),
    )
