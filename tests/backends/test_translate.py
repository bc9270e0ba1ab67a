"""The way of bytes through a translation: heads, ends, failures, cancelling, and whose memory is held how long."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from backends.base import Cause, Moment
from backends.call import Call
from backends.dialects.anthropic.dialect import Anthropic
from backends.dialects.translate import ANSWER_LIMIT, TranslatingBackend

CHAT = {"model": "claude", "messages": [{"role": "user", "content": "Hello"}]}
MESSAGE = {
    "id": "msg_1", "type": "message", "model": "claude", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip
BEGINNING = [
    {"type": "message_start", "message": MESSAGE | {"content": [], "stop_reason": None}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
]
ENDING = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Budget:
    """Counts what is held, up to a limit. changed: called when that changes."""

    def __init__(self, changed: Callable[[], None], limit: int = 1 << 30) -> None:
        self.held = 0
        self.limit = limit
        self._changed = changed

    def reserve(self, n: int) -> bool:
        if self.held + n > self.limit:
            return False
        self.held += n
        self._changed()
        return True

    def release(self, n: int) -> None:
        assert n <= self.held
        self.held -= n


class Side:
    """A translating backend before a scripted server, and one call on it."""

    def __init__(self, line: Any, server: Any) -> None:
        self.line = line(api_key="sk-up", auth="x-api-key")
        self.server = server
        self.budget = Budget(server.changed)
        self.backend = TranslatingBackend(self.line.backend, Anthropic(), self.budget)

    def call(self, taker: Any, body: Any = CHAT, path: str = "/chat/completions", fields: bytes = b"") -> Any:
        return self.backend.start(Call("POST", path, fields, json.dumps(body).encode()), taker)

    async def ask(self, taker: Any, body: Any = CHAT) -> tuple[Any, Any, bytes]:
        """A call whose request arrived: its handle, the server's end, the request."""
        handle = self.call(taker, body)
        peer = await self.server.peer(len(self.server.peers))
        data = await peer.request()
        return handle, peer, data


@pytest.fixture
def side(line: Any, server: Any) -> Side:
    return Side(line, server)


def whole(body: bytes, status: bytes = b"200 OK", fields: bytes = b"content-type: application/json\r\n") -> bytes:
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, fields, len(body), body)


def chunk(events: list[dict[str, Any]]) -> bytes:
    data = b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events)
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST = b"0\r\n\r\n"
STREAM = CHAT | {"stream": True}


async def test_the_request_on_the_wire_holds_what_the_provider_needs_and_nothing_else(side: Side, taker: Any) -> None:
    fields = b"x-request-id: req_1\r\ncookie: a=b\r\ntraceparent: 00-1\r\nopenai-beta: x\r\nanthropic-beta: y\r\n"
    side.call(taker, fields=fields)
    head, _, body = (await (await side.server.peer()).request()).partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert first == b"POST /v1/messages HTTP/1.1"
    found = dict(line.split(b": ", 1) for line in lines)
    assert found.pop(b"host")
    assert found == {
        b"user-agent": b"fastpath",
        b"accept-encoding": b"identity",
        b"x-api-key": b"sk-up",
        b"content-type": b"application/json",
        b"anthropic-version": b"2023-06-01",
        b"content-length": str(len(body)).encode(),
    }
    assert json.loads(body)["max_tokens"] == 4096


async def test_the_providers_own_path_passes_as_it_is(side: Side, taker: Any) -> None:
    side.call(taker, {"model": "claude", "odd": 1}, "/messages", b"anthropic-version: 2024-01-01\r\n")
    data = await (await side.server.peer()).request()
    assert data.endswith(b'{"model": "claude", "odd": 1}')
    assert b"anthropic-version: 2024-01-01\r\n" in data
    assert b"authorization" not in data


async def test_a_whole_answer(side: Side, taker: Any) -> None:
    _, peer, _ = await side.ask(taker)
    body = json.dumps(MESSAGE).encode()
    peer.write(whole(body)[:-10])
    await side.server.until(lambda: side.budget.held == len(body) - 10)
    peer.write(body[-10:])
    assert await taker.end() is None
    assert taker.status == 200
    assert json.loads(taker.body)["choices"][0]["message"]["content"] == "Hi"
    assert side.budget.held == 0
    assert side.line.pool._idle  # the connection is kept


async def test_a_stream(side: Side, taker: Any) -> None:
    _, peer, _ = await side.ask(taker, STREAM)
    peer.write(EVENTS + chunk(BEGINNING))
    await taker.news.until(lambda: b'"Hi"' in taker.body)  # before the rest was said
    assert not taker.ends
    peer.write(chunk(ENDING) + LAST)
    assert await taker.end() is None
    assert taker.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("ending", [[], ENDING[:1]])
async def test_a_stream_that_ends_early_fails(side: Side, taker: Any, ending: list[dict[str, Any]]) -> None:
    _, peer, _ = await side.ask(taker, STREAM)
    peer.write(EVENTS + chunk(BEGINNING + ending) + LAST)
    error = await taker.end()
    assert (error.cause, error.moment) == (Cause.DISCONNECTED, Moment.BODY)
    assert b"[DONE]" not in taker.body
    assert b'"finish_reason":"' not in taker.body


@pytest.mark.parametrize("body", [CHAT, STREAM])
async def test_a_disconnection_is_told(side: Side, taker: Any, body: Any) -> None:
    _, peer, _ = await side.ask(taker, body)
    peer.write(EVENTS + chunk(BEGINNING) if body is STREAM else whole(b"{}")[:-1])
    await taker.news.until(lambda: taker.body) if body is STREAM else await side.server.until(lambda: side.budget.held)
    peer.transport.abort()
    error = await taker.end()
    assert (error.cause, error.moment) == (Cause.DISCONNECTED, Moment.BODY)
    assert side.budget.held == 0


async def test_a_malformed_stream_is_given_up_and_its_connection_closed(side: Side, taker: Any) -> None:
    _, peer, _ = await side.ask(taker, STREAM)
    peer.write(EVENTS + chunk(BEGINNING) + b"9\r\ndata: {\n\n\r\n")
    assert (await taker.end()).cause is Cause.BAD_ANSWER
    await peer.gone()
    assert not side.line.backend.calls


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (CHAT, whole(b"{}")),
        (CHAT, whole(b"<html>")),
        (CHAT, whole(b'{"type":"error","error":{"type":"api_error","message":"x"}}')),
        (CHAT, EVENTS + chunk(BEGINNING) + LAST),
        (STREAM, whole(json.dumps(MESSAGE).encode())),
    ],
)
async def test_an_answer_of_another_kind_is_a_bad_answer(side: Side, taker: Any, body: Any, answer: bytes) -> None:
    _, peer, _ = await side.ask(taker, body)
    peer.write(answer)
    assert (await taker.end()).cause is Cause.BAD_ANSWER
    assert not taker.status
    assert side.budget.held == 0


@pytest.mark.parametrize("status", [b"400 Bad Request", b"402 Pay", b"404 Not Found", b"422 What", b"499 Odd"])
async def test_a_refusal_is_told_in_openais_words(side: Side, taker: Any, status: bytes) -> None:
    _, peer, _ = await side.ask(taker)
    said = b'{"type":"error","error":{"type":"invalid_request_error","message":"No."}}'
    peer.write(whole(said, status))
    assert await taker.end() is None
    assert taker.status == int(status[:3])
    assert json.loads(taker.body)["error"]["message"] == "No."


@pytest.mark.parametrize("status", [b"401 Who", b"429 Too Many Requests", b"529 Overloaded", b"500 Oops", b"302 Found"])
async def test_a_status_that_says_it_all_is_told_before_its_body(side: Side, taker: Any, status: bytes) -> None:
    _, peer, _ = await side.ask(taker)
    peer.write(whole(b"x" * 50, status, b"retry-after: 7\r\n")[:-50])
    await taker.news.until(lambda: taker.status)
    assert taker.status == int(status[:3])


async def test_what_cannot_be_said_is_refused_without_being_sent(side: Side, taker: Any) -> None:
    handle = side.call(taker, CHAT | {"n": 2})
    assert not taker.ends  # not before the caller has the handle
    assert await taker.end() is None
    assert taker.status == 400
    assert json.loads(taker.body)["error"]["param"] == "n"
    assert handle.over
    assert not side.server.peers


async def test_a_refusal_that_nobody_waits_for_is_not_told(side: Side, taker: Any) -> None:
    side.call(taker, CHAT | {"n": 2}).cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not taker.ends
    assert not taker.status


async def test_cancelling_closes_the_connection_and_gives_memory_back(side: Side, taker: Any) -> None:
    handle, peer, _ = await side.ask(taker)
    peer.write(whole(b"x" * 100)[:-50])
    await side.server.until(lambda: side.budget.held == 50)
    handle.cancel()
    assert side.budget.held == 0
    await peer.gone()
    assert not taker.ends


async def test_a_deadline_is_told_after_memory_went_back(side: Side, taker: Any) -> None:
    _, peer, _ = await side.ask(taker)
    peer.write(whole(b"x" * 100)[:-50])
    await side.server.until(lambda: side.budget.held == 50)
    side.line.pass_time(10_000)
    assert (await taker.end()).cause is Cause.TOTAL_TIMEOUT
    assert side.budget.held == 0


async def test_no_memory_no_answer(side: Side, taker: Any) -> None:
    side.budget.limit = 10
    _, peer, _ = await side.ask(taker)
    peer.write(whole(json.dumps(MESSAGE).encode()))
    assert (await taker.end()).cause is Cause.BAD_ANSWER
    assert side.budget.held == 0


async def test_an_answer_without_end_is_not_held(side: Side, taker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.dialects.translate.ANSWER_LIMIT", 100)
    assert ANSWER_LIMIT > 100
    _, peer, _ = await side.ask(taker)
    peer.write(whole(b"x" * 200))
    assert (await taker.end()).cause is Cause.BAD_ANSWER
    await peer.gone()


async def test_a_coded_answer_is_left_to_who_refuses_it(side: Side, taker: Any) -> None:
    _, peer, _ = await side.ask(taker)
    peer.write(whole(b"\x1f\x8b", fields=b"content-encoding: gzip\r\n"))
    assert await taker.end() is None
    assert taker.body == b"\x1f\x8b"


async def test_a_bug_in_a_translation_ends_the_request(side: Side, taker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    monkeypatch.setattr("backends.dialects.anthropic.dialect.read_answer", lambda *_: 1 // 0)
    _, peer, _ = await side.ask(taker)
    peer.write(whole(json.dumps(MESSAGE).encode()))
    assert (await taker.end()).cause is Cause.BAD_ANSWER
    assert isinstance(seen[0]["exception"], ZeroDivisionError)


async def test_a_translated_request_is_forgotten_when_it_is_answered(side: Side, taker: Any) -> None:
    handle = side.call(taker, STREAM)
    sent = handle._taker._translation.call
    await (await side.server.peer()).request()
    assert sent.body
    handle.forget_request()
    assert sent.body is None


async def test_a_pause_reaches_the_provider(side: Side, taker: Any) -> None:
    handle, peer, _ = await side.ask(taker, STREAM)
    peer.write(EVENTS + chunk(BEGINNING))
    await taker.news.until(lambda: taker.body)
    handle.pause()
    before = len(taker.body)
    peer.write(chunk(ENDING) + LAST)
    handle.resume()
    assert await taker.end() is None
    assert len(taker.body) > before
