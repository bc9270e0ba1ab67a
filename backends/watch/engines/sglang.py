"""SGLang's `/metrics` (served with `--enable-metrics`). Every data-parallel rank has its series; of tensor-parallel
ranks the first one speaks for all."""

from typing import Final

from backends.watch.exposition import Labels, read_page
from backends.watch.reading import Reading, Unreadable

_WAITING: Final = b"sglang:num_queue_reqs"
_RUNNING: Final = b"sglang:num_running_reqs"
_KV: Final = b"sglang:token_usage"
_PROMPT: Final = b"sglang:prompt_tokens_total"
_DONE: Final = b"sglang:num_requests_total"
_NAMES: Final = (_WAITING, _RUNNING, _KV, _PROMPT, _DONE)


def read(page: bytes, model: str | None) -> Reading:
    """What a page says. Raises Unreadable for one without SGLang's queue."""
    del model
    found = read_page(page, _NAMES)
    if not found.has(_WAITING, _RUNNING):
        raise Unreadable("its page has neither sglang:num_queue_reqs nor sglang:num_running_reqs (--enable-metrics?)")
    return Reading(
        running=found.total(_RUNNING, keep=_speaks),
        waiting=found.total(_WAITING, keep=_speaks),
        kv_usage=found.mean(_KV, keep=_speaks),
        prompt_tokens=found.total(_PROMPT, keep=_speaks),
        requests=found.total(_DONE, keep=_speaks),
    )


def _speaks(labels: Labels) -> bool:
    return labels.get(b"tp_rank", b"0") == b"0" and labels.get(b"pp_rank", b"0") == b"0"
