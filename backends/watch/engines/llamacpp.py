"""llama.cpp's server: `/metrics` (served with `--metrics`), or `/slots` where the URL names that."""

from typing import Final

import msgspec

from backends.watch.exposition import read_page
from backends.watch.reading import Reading, Unreadable

_WAITING: Final = b"llamacpp:requests_deferred"
_RUNNING: Final = b"llamacpp:requests_processing"
_KV: Final = b"llamacpp:kv_cache_usage_ratio"
_PROMPT: Final = b"llamacpp:prompt_tokens_total"
_SECONDS: Final = b"llamacpp:prompt_seconds_total"
_NAMES: Final = (_WAITING, _RUNNING, _KV, _PROMPT, _SECONDS)


class _Slot(msgspec.Struct):
    is_processing: bool


def read(page: bytes, model: str | None) -> Reading:
    """What a page says. Raises Unreadable for one without llama.cpp's queue."""
    del model
    if page.lstrip()[:1] == b"[":
        return _read_slots(page)
    found = read_page(page, _NAMES)
    if not found.has(_WAITING, _RUNNING):
        raise Unreadable("its page has neither llamacpp:requests_deferred nor llamacpp:requests_processing")
    return Reading(
        running=found.total(_RUNNING),
        waiting=found.total(_WAITING),
        kv_usage=found.total(_KV),
        prompt_tokens=found.total(_PROMPT),
        prompt_seconds=found.total(_SECONDS),
    )


def _read_slots(page: bytes) -> Reading:
    """Who waits is not told there: slots tell only who runs."""
    try:
        slots = msgspec.json.decode(page, type=list[_Slot])
    except (msgspec.DecodeError, RecursionError):
        raise Unreadable("its slots are not a list of objects with is_processing") from None
    return Reading(running=sum(slot.is_processing for slot in slots))
