"""Triton's `/metrics` (port 8002 of its own, as a rule): requests that wait in front of a model, and, where the
TensorRT-LLM backend runs in it, what that says of its batches and its KV cache."""

from typing import Final

from backends.watch.exposition import Keep, Labels, read_page
from backends.watch.reading import Reading, Unreadable

_PENDING: Final = b"nv_inference_pending_request_count"
_REQUESTS: Final = b"nv_trt_llm_request_metrics"
_BLOCKS: Final = b"nv_trt_llm_kv_cache_block_metrics"
_DONE: Final = b"nv_inference_request_success"
_NAMES: Final = (_PENDING, _REQUESTS, _BLOCKS, _DONE)


def read(page: bytes, model: str | None) -> Reading:
    """What a page says. Raises Unreadable for one without a queue."""
    found = read_page(page, _NAMES)
    if not found.has(_PENDING, _REQUESTS):
        raise Unreadable("its page has neither nv_inference_pending_request_count nor nv_trt_llm_request_metrics")
    pending = found.total(_PENDING, keep=_is(model))
    inside = found.total(_REQUESTS, keep=_is(model, request_type=b"waiting"))
    return Reading(
        running=found.total(_REQUESTS, keep=_is(model, request_type=b"active")),
        waiting=pending if inside is None else inside + (pending or 0.0),
        kv_usage=found.mean(_BLOCKS, keep=_is(model, kv_cache_block_type=b"fraction")),
        requests=found.total(_DONE, keep=_is(model)),
    )


def _is(model: str | None, **wanted: bytes) -> Keep:
    """Keeps the series of the model with these labels: a Triton serves several models from one page."""
    name = model.encode() if model is not None else None

    def keep(labels: Labels) -> bool:
        if name is not None and labels.get(b"model", name) != name:
            return False
        return all(labels.get(label.encode()) == value for label, value in wanted.items())

    return keep
