"""Requests to servers that are nearly OpenAI's: what they refuse is changed, every other byte stays."""

import json
from typing import Any

import pytest

from _native.relay import Sink
from backends.call import Call
from backends.dialects.likeness import LikeBackend, without

LIMIT, OPTIONS = "max_completion_tokens", "stream_options"
BOTH = frozenset({LIMIT, OPTIONS})


@pytest.mark.parametrize(
    ("body", "lacks", "sent"),
    [
        ({"a": 1, LIMIT: 5}, {LIMIT}, {"a": 1, "max_tokens": 5}),
        ({"max_tokens": 9, LIMIT: 5}, {LIMIT}, {"max_tokens": 5}),
        ({OPTIONS: {"include_usage": True}, "stream": True}, BOTH, {"stream": True}),
        ({OPTIONS: None}, {LIMIT}, {OPTIONS: None}),
    ],
)
def test_what_is_refused_is_changed(body: dict[str, Any], lacks: set[str], sent: dict[str, Any]) -> None:
    assert json.loads(without(json.dumps(body).encode(), frozenset(lacks))) == sent


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff"])
def test_what_is_no_object_is_left_to_its_server(body: bytes) -> None:
    assert without(body, BOTH) == body


class Inner:
    """A backend that keeps what it was given."""

    def __init__(self) -> None:
        self.bodies: list[bytes | None] = []

    def start(self, call: Call, _: Sink) -> None:
        self.bodies.append(call.body)


@pytest.mark.parametrize("body", [b'{ "a" : 1 , "max_tokens":5 }', None])
def test_a_request_without_such_a_field_is_not_touched(body: bytes | None) -> None:
    inner: Any = Inner()
    LikeBackend(inner, BOTH).start(Call("POST", "/chat/completions", b"", body), Sink())
    assert inner.bodies[0] is body


def test_numbers_keep_their_spelling() -> None:
    assert without(b'{"temperature":1.0e0,"stream_options":{},"big":123456789012345678901}', BOTH) == (
        b'{"temperature":1.0e0,"big":123456789012345678901}'
    )
