"""Arguments and results of tools: texts in OpenAI's API, objects in others. Pure."""

import msgspec
from msgspec import Raw

_OBJECT = msgspec.json.Decoder(dict[str, Raw])


def as_object(text: str) -> Raw | None:
    """The text itself when it is a JSON object, else None."""
    if not text.lstrip(" \t\r\n").startswith("{"):
        return None
    try:
        _OBJECT.decode(text)
        return Raw(text.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def as_text(value: Raw) -> str | None:
    """The JSON text of an object, "{}" for null; None: it is something else."""
    try:
        text = bytes(value).decode()
    except UnicodeDecodeError:
        return None
    if text == "null":
        return "{}"
    return text if text.startswith("{") else None
