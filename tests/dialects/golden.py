"""Golden files: what a caller asked, what went to the provider, what it said, what the caller was told.

A file is JSON: `chat`, `sent`, then `said` (one object, or a list of events) and `told` (one object, or a list of
chunks, `"[DONE]"` last where the answer is complete). Written by hand or by a run that was read line by line.
"""

import json
from pathlib import Path
from typing import Any

from backends.call import Call
from backends.dialects.dialect import Dialect, Translation

FOLDER = Path(__file__).parent / "golden"
CREATED, IDENT = 1_700_000_000, "0123456789abcdef"


def files(dialect: str) -> list[Path]:
    return sorted((FOLDER / dialect).glob("*.json"))


def begin(dialect: Dialect, chat: dict[str, Any]) -> Translation:
    call = Call("POST", "/chat/completions", b"", json.dumps(chat).encode())
    return dialect.begin(call, CREATED, IDENT)


def events_of(said: list[dict[str, Any]]) -> bytes:
    """Server-sent events as Anthropic writes them: named by their type."""
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in said
    )


def chunks_of(told: bytes) -> list[Any]:
    """The data of the events that a caller gets."""
    frames = told.decode().split("\n\n")
    assert frames[-1] == ""
    data = [frame.removeprefix("data: ") for frame in frames[:-1]]
    return [text if text == "[DONE]" else json.loads(text) for text in data]
