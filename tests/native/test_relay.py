"""The stream filter: its contract by table, its twin as oracle, every cut."""

import importlib.machinery
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _native import relay as native
from _native.reference import relay as twin

STATE = ("frames", "terminal", "finished", "usage", "usage_head", "error", "broken")
CONTENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"boom"}}\n\n'
PARTS = [
    CONTENT, STOP, USAGE, DONE, ERROR, b": comment\n\n", b"\n", b"\r\n", b"\r", b"data: {not json}\n\n", b"data: {\n",
    b"data: }\n\n", b"event: error\n", b"\xef\xbb\xbf", b'data: {"type":"message_start"}\n\n', b"data: 1\r\r",
    b'data: {"type":"message_delta"}\n\n', b'data: {"type":"message_stop"}\n\n', b'data: {"type":"error"}\n\n',
    b'data: {"type":"response.completed"}\r\n\r\n', b"data: x", b"id: 1\n", b"x" * 70, b"data:[DONE]",
]  # fmt: skip
STREAMS = st.lists(st.sampled_from(PARTS), max_size=10).map(b"".join)
DIALECTS = st.sampled_from(["chat", "responses", "messages", "other"])


def run(parts: list[bytes], dialect: str = "chat", strip: bool = False, limit: int = 1 << 20, ended: bool = True) -> list[Any]:  # fmt: skip  # noqa: E501
    stream = native.StreamFilter(dialect, strip, limit)
    out = b"".join(stream.push(part) for part in parts)
    if ended:
        out += stream.end()
    return [unified(out), *(getattr(stream, name) for name in STATE)]


def unified(out: bytes) -> bytes:
    """Line ends as LF: a CR LF that was cut in two may lose its LF after the last event, which changes nothing."""
    return out.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def expect(stream: bytes, dialect: str, strip: bool, limit: int, ended: bool) -> list[Any]:
    found = twin.filter_stream(stream, dialect, strip, limit, ended)
    return [unified(found.out), *(getattr(found, name) for name in STATE)]


def test_the_kernel_is_compiled() -> None:
    assert native.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))


def test_a_read_of_whole_frames_passes_as_the_same_object() -> None:
    stream = native.StreamFilter()
    assert stream.push(CONTENT) is CONTENT


def test_only_the_usage_frame_is_removed() -> None:
    out, frames, terminal, finished, usage, *_ = run([CONTENT + STOP + USAGE + DONE], strip=True)
    assert out == CONTENT + STOP + DONE
    assert (frames, terminal, finished) == (2, True, True)
    assert usage is not None
    assert b"completion_tokens" in usage


@pytest.mark.parametrize(
    ("body", "out", "broken"),
    [
        (CONTENT + DONE, CONTENT + DONE, None),
        (CONTENT + DONE + CONTENT, CONTENT + DONE, None),
        (CONTENT + STOP, CONTENT + STOP + DONE, None),
        (CONTENT, CONTENT, "truncated"),
        (b"", b"", "truncated"),
        (DONE, b"", "truncated"),
        (CONTENT + STOP[:-1], CONTENT + STOP + DONE, None),
        (CONTENT + STOP[:-9], CONTENT, "truncated"),
        (CONTENT + b"data: {bad}\n\n" + CONTENT, CONTENT, "malformed"),
        (b"data: " + b"x" * (1 << 20) + CONTENT, b"", "oversized"),
        (b"\xef\xbb\xbf" + CONTENT + DONE, CONTENT + DONE, None),
        (b": hello\n\n" + CONTENT + b": more\n\n" + DONE, CONTENT + b": more\n\n" + DONE, None),
    ],
)
def test_chat_streams(body: bytes, out: bytes, broken: str | None) -> None:
    for step in (len(body) or 1, 1 if len(body) < 5000 else 4096):
        found = run([body[at : at + step] for at in range(0, len(body), step)])
        assert (found[0], found[-1]) == (out, broken), step


def test_an_error_event_is_kept_back() -> None:
    out, *_, error, broken = run([CONTENT + ERROR + DONE])
    assert (out, error, broken) == (CONTENT, b'{"error":{"message":"boom"}}', None)


@settings(max_examples=600)
@given(STREAMS, DIALECTS, st.booleans(), st.sampled_from([60, 1 << 20]), st.booleans(), st.integers(0, 2**32))
def test_kernel_equals_twin_at_every_cut(stream: bytes, dialect: str, strip: bool, limit: int, ended: bool, seed: int) -> None:  # fmt: skip  # noqa: E501
    expected = expect(stream, dialect, strip, limit, ended)
    assert run([stream] if stream else [], dialect, strip, limit, ended) == expected
    cuts = random.Random(seed)
    parts, at = [], 0
    while at < len(stream):
        step = cuts.randint(1, 9)
        parts.append(stream[at : at + step])
        at += step
    assert run(parts, dialect, strip, limit, ended) == expected


class Taker(native.Sink):
    """Takes an answer and forgets it."""

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> native.Sink:
        return self

    def write(self, data: bytes) -> None: ...
    def finish(self) -> None: ...


class Script:
    """Everything around a Connection: its pool, its call, its sink and its transport. Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def release(self, connection: native.Connection, reusable: bool) -> None:
        self.told.append("released")

    def lost(self, connection: native.Connection) -> None:
        self.told.append("lost")

    def completed(self) -> None:
        self.told.append("completed")

    def broken(self, connection: native.Connection, cause: str, detail: object) -> None:
        self.told.append(cause)

    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...


@pytest.mark.parametrize(("why", "end"), [(None, "completed"), (ConnectionResetError(), "disconnected")])
def test_a_body_without_length_ends_with_a_close_and_breaks_with_a_reset(why: Exception | None, end: str) -> None:
    around: Any = Script()
    connection = native.Connection(around)
    connection.connection_made(around)
    connection.begin(around, Taker(), b"GET / HTTP/1.1\r\n\r\n", None, True)
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
    connection.connection_lost(why)
    assert end in around.told
    assert ("completed" in around.told) == (why is None)


def test_an_idle_connection_that_the_peer_closes_is_not_handed_out() -> None:
    around: Any = Script()
    connection = native.Connection(around)
    connection.connection_made(around)
    assert not connection.closed
    assert not connection.eof_received()
    assert connection.closed
