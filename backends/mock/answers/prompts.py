"""Prompts as bytes: what token counts, prefixes and seeds are computed from. Pure functions."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from backends.mock.tokens import image_bytes


class Message(msgspec.Struct):
    """A chat message of either dialect."""

    role: str
    content: str | list[str | dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None


def render_messages(messages: Iterable[Message]) -> bytes:
    """Messages one after the other, each behind its role: a longer conversation extends a shorter one's bytes."""
    return b"".join(_render_message(message) for message in messages)


def _render_message(message: Message) -> bytes:
    calls = msgspec.json.encode(message.tool_calls) if message.tool_calls else b""
    return b"<%b>%b%b\n" % (utf8(message.role), render_content(message.content), calls)


def render_content(content: str | Sequence[str | dict[str, Any]] | None) -> bytes:
    """Text as it is, images as a stand-in of their usual length, anything else as JSON."""
    if content is None:
        return b""
    if isinstance(content, str):
        return utf8(content)
    return b"".join(_render_part(part) for part in content)


def _render_part(part: str | dict[str, Any]) -> bytes:
    if isinstance(part, str):
        return utf8(part)
    if isinstance(part.get("text"), str):
        return utf8(part["text"])
    data = msgspec.json.encode(part)
    return image_bytes(data) if "image" in str(part.get("type")) else data


def utf8(text: str) -> bytes:
    """UTF-8; lone surrogates (legal in JSON escapes) are kept, not refused."""
    return text.encode("utf-8", "surrogatepass")


def as_tuple(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """One string or many or none, as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
