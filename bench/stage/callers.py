"""The callers: their keys, the heads of their requests as an SDK writes them, and bodies of which no two are alike.

Owns the two files that every load generator reads: `heads` (one request head per key, each ended by an empty line) and
`body` (one JSON body with MARK in it once, which the generator overwrites with digits that never come twice).
"""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.load.sdk_headers import HEADERS
from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher, new_token

BODIES = Path(__file__).parent / "bodies"
MARK = "@@@@@@@@@@@@"
"""Twelve bytes at the start of the last message: prompts share their system message and nothing after it."""
COUNT = 1_000
PATH = "/v1/chat/completions"


class Callers(msgspec.Struct, frozen=True):
    """Keys of callers, and their hashes under the pepper of a state folder."""

    state: Path
    tokens: tuple[str, ...]
    hashes: tuple[str, ...]


def make_callers(state: Path, count: int = COUNT) -> Callers:
    """New keys; the pepper is made when the state folder has none."""
    hasher = KeyHasher(make_pepper(state))
    tokens = tuple(new_token().reveal() for _ in range(count))
    return Callers(state, tokens, tuple(hasher.hash_text(token) for token in tokens))


class Load(msgspec.Struct, frozen=True):
    """The two files of one kind of request."""

    heads: Path
    body: Path


def write_load(folder: Path, name: str, tokens: Sequence[str], body: bytes) -> Load:
    """Writes `NAME.heads` and `NAME.body`. Raises ValueError when MARK is not in the body exactly once."""
    if body.count(MARK.encode()) != 1:
        raise ValueError("a body needs the mark exactly once")
    load = Load(folder / f"{name}.heads", folder / f"{name}.body")
    load.heads.write_text("".join(head(token, len(body)) for token in tokens), newline="")
    load.body.write_bytes(body)
    return load


def head(token: str, length: int) -> str:
    """A request head with the 17 fields of the official Python client."""
    fields = {"host": "127.0.0.1", "content-type": "application/json", "authorization": f"Bearer {token}"}
    fields |= {"content-length": str(length), **HEADERS}
    return f"POST {PATH} HTTP/1.1\r\n" + "".join(f"{name}: {text}\r\n" for name, text in fields.items()) + "\r\n"


def make_body(name: str) -> bytes:
    """One of bodies/NAME.json with MARK in it."""
    return mark(json.loads((BODIES / f"{name}.json").read_bytes()))


def long_body(size: int) -> bytes:
    """A chat request of about `size` bytes: the paragraphs of the long prompt, again and again."""
    request = json.loads((BODIES / "request_50k.json").read_bytes())
    text = request["messages"][-1]["content"]
    request["messages"][-1]["content"] = (text * (size // len(text) + 1))[: size - 1_000]
    return mark(request)


def mark(request: dict[str, object]) -> bytes:
    """The request as JSON, MARK at the start of its last message."""
    messages = request["messages"]
    assert isinstance(messages, list)
    last = messages[-1]
    return json.dumps(
        request | {"messages": [*messages[:-1], last | {"content": f"{MARK} {last['content']}"}]}
    ).encode()
