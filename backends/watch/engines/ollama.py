"""Ollama's `/api/ps`: which models are in memory. It tells nothing of its queue; whether a request would have to wait
for the model to be read from disk is worth more than that."""

import msgspec

from backends.watch.reading import Reading, Unreadable


class _Loaded(msgspec.Struct):
    name: str = ""
    model: str = ""


class _Page(msgspec.Struct):
    models: list[_Loaded]


def read(page: bytes, model: str | None) -> Reading:
    """What a page says. Raises Unreadable for one that is not Ollama's."""
    try:
        loaded = msgspec.json.decode(page, type=_Page).models
    except (msgspec.DecodeError, RecursionError):
        raise Unreadable("its page is not a JSON object with a list of models") from None
    names = {_full(name) for one in loaded for name in (one.name, one.model) if name}
    return Reading(cold=not names if model is None else _full(model) not in names)


def _full(name: str) -> str:
    """Ollama's own rule: a name without a tag means `latest`."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
