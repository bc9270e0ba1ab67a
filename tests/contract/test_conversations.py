"""The Exchange contract as a table of raw HTTP/1.1 conversations.

A row is one request and what must come back. `hyper` marks what Granian's HTTP library decides before the gateway hears
of the request: the status it answers with, by an empty body that is not JSON. Any other door is held to the row itself.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from loadtest.rig import Conversation, Reply, chat, post
from loadtest.rig.reply import BODILESS

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "llama", "messages": [{"role": "user", "content": "hello"}]}).encode()
LIMIT = 256 * 1024


@dataclass(frozen=True)
class Row:
    """request -> status and error code. allow: value of that field; kept: the connection takes another request."""

    name: str
    request: bytes
    status: int
    code: str | None = None
    allow: str | None = None
    kept: bool | None = True
    hyper: int | None = None


def raw(method: str, path: str, *lines: str, body: bytes = b"", version: str = "1.1") -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/{version}", "host: gateway", *lines))
    return head.encode("latin-1") + b"\r\n" + body


def chunked(*pieces: bytes, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return framed + b"0\r\n" + trailer + b"\r\n"


JSON = "content-type: application/json"
CHUNKED = "transfer-encoding: chunked"

ROWS = (
    Row("plain", chat(), 200),
    Row("no-content-type", raw("POST", CHAT, f"content-length: {len(BODY)}", body=BODY), 200),
    Row("content-type-with-charset", post(BODY, headers=[("Content-Type", "Application/JSON; charset=utf-8")]), 200),
    Row("query-is-ignored", post(BODY, f"{CHAT}?beta=true"), 200),
    Row("chunked", raw("POST", CHAT, JSON, CHUNKED, body=chunked(BODY[:7], BODY[7:])), 200),
    Row("chunked-byte-by-byte", raw("POST", CHAT, JSON, CHUNKED, body=chunked(*(bytes([b]) for b in BODY))), 200),
    Row("chunk-extension", raw("POST", CHAT, JSON, CHUNKED, body=chunked(BODY, extension=b";a=b")), 200),
    Row("chunked-trailer", raw("POST", CHAT, JSON, CHUNKED, body=chunked(BODY, trailer=b"x-sum: 1\r\n")), 200),
    Row("identity-coding", post(BODY, headers=[("content-encoding", "identity")]), 200),
    Row("healthz", raw("GET", "/healthz"), 200),
    Row("readyz", raw("GET", "/readyz"), 200),
    Row("models", raw("GET", "/v1/models"), 200),
    Row("one-model", raw("GET", "/v1/models/llama"), 200),
    Row("models-with-a-body", raw("GET", "/v1/models", "content-length: 2", body=b"{}"), 200, kept=None),
    Row("close-is-honoured", raw("GET", "/v1/models", "connection: close"), 200, kept=False),
    Row("http-1.0", raw("GET", "/v1/models", version="1.0"), 200, kept=False),
    Row("unknown-path", raw("GET", "/v2/nothing"), 404, "unknown_path"),
    Row("unknown-path-post", post(BODY, "/v1/files"), 404, "unknown_path", kept=None),
    Row("path-with-dots", post(BODY, "/v1/./chat/completions"), 404, "unknown_path", kept=None),
    Row("path-with-escape", post(BODY, "/v1/chat%2fcompletions"), 404, "unknown_path", kept=None),
    Row("path-with-slash", post(BODY, f"{CHAT}/"), 404, "unknown_path", kept=None),
    Row("root", raw("GET", "/"), 404, "unknown_path"),
    Row("metrics-are-not-here", raw("GET", "/metrics"), 404, "unknown_path"),
    Row("debug-is-not-here", raw("GET", "/debug/requests"), 404, "unknown_path"),
    Row("unknown-model", raw("GET", "/v1/models/none"), 404, "model_not_found"),
    Row("get-chat", raw("GET", CHAT), 405, "method_not_allowed", allow="POST"),
    Row("put-chat", post(BODY, method="PUT"), 405, "method_not_allowed", allow="POST", kept=None),
    Row("own-method", post(BODY, method="FOO"), 405, "method_not_allowed", allow="POST", kept=None),
    Row("post-models", post(BODY, "/v1/models"), 405, "method_not_allowed", allow="GET", kept=None),
    Row("options", raw("OPTIONS", CHAT), 405, "method_not_allowed", allow="POST"),
    Row("gzip", post(BODY, headers=[("content-encoding", "gzip")]), 415, "unsupported_content_encoding", kept=None),
    Row("br", post(BODY, headers=[("content-encoding", "br")]), 415, "unsupported_content_encoding", kept=None),
    Row("text", post(BODY, headers=[("content-type", "text/plain")]), 415, "unsupported_media_type", kept=None),
    Row("form", post(BODY, headers=[("content-type", "multipart/form-data; boundary=b")]), 415,
        "unsupported_media_type", kept=None),
    Row("json-for-an-upload", post(BODY, "/v1/audio/transcriptions"), 415, "unsupported_media_type", kept=None),
    Row("empty-body", post(b""), 400, "invalid_request"),
    Row("no-body-at-all", raw("POST", CHAT, JSON), 400, "invalid_request"),
    Row("empty-chunked-body", raw("POST", CHAT, JSON, CHUNKED, body=chunked()), 400, "invalid_request"),
    Row("bad-json", post(b'{"model": "llama",}'), 400, "invalid_request"),
    Row("too-large", raw("POST", CHAT, JSON, f"content-length: {LIMIT + 1}"), 413, "request_too_large", kept=None),
    Row("body-at-the-limit", post(BODY[:-1] + b" " * (LIMIT - len(BODY)) + b"}"), 200),
    Row("no-http", b"this is no http\r\n\r\n", 400, "invalid_request", hyper=400, kept=False),
    Row("bad-chunk-size", raw("POST", CHAT, JSON, CHUNKED, body=b"zz\r\n{}\r\n0\r\n\r\n"), 400, "broken_body",
        kept=False),
    Row("two-lengths", raw("POST", CHAT, JSON, "content-length: 2", "content-length: 3", body=b"{}x"), 400,
        "invalid_request", hyper=400, kept=False),
    Row("negative-length", raw("POST", CHAT, JSON, "content-length: -1"), 400, "invalid_request", hyper=400,
        kept=False),
    Row("129-headers", raw("GET", "/v1/models", *(f"x-{i}: 1" for i in range(129))), 431, "headers_too_large",
        hyper=431, kept=False),
    Row("giant-header", raw("GET", "/v1/models", "x: " + "a" * 400_000), 431, "headers_too_large", hyper=431,
        kept=False),
    Row("header-of-60-kib", raw("GET", "/v1/models", "x: " + "a" * 60 * 1024), 200),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row(door: Any, row: Row) -> None:
    client = await door.served.open()
    try:
        reply = await client.ask(row.request)
        check(reply, row, hyper=row.hyper is not None and door.name == "granian")
        await check_kept(client, row.kept)
    finally:
        client.leave()


def check(reply: Reply, row: Row, hyper: bool) -> None:
    if hyper:
        assert reply.status == row.hyper
        return
    assert reply.status == row.status, reply.body
    assert re.fullmatch(r"req_[0-9a-f]{32}", reply.header("x-request-id") or "")
    assert reply.header("allow") == row.allow
    assert reply.header("content-type") == "application/json"
    if row.code is not None:
        assert reply.error["code"] == row.code


async def check_kept(client: Conversation, kept: bool | None) -> None:
    """None: the door may keep or close a connection whose body it did not read; what it keeps must be in step."""
    if kept is False:
        await client.end()
        return
    try:
        second = await client.ask(raw("GET", "/healthz"))
    except (ConnectionError, TimeoutError):
        assert kept is None, "the connection was closed"
    else:
        assert second.status == 200


async def test_refused_requests_never_reach_the_model_server(door: Any) -> None:
    refused = [row for row in ROWS if row.status >= 400]
    for row in refused:
        await door.served.ask(row.request)
    assert door.upstream.asked == 0
    reached = [record for record in door.served.records.all if record.status == 200]
    assert not reached


async def test_the_body_reaches_the_model_server_byte_by_byte(door: Any) -> None:
    for pieces in ([BODY], [BODY[:1], BODY[1:30], BODY[30:]]):
        await door.served.ask(raw("POST", CHAT, JSON, CHUNKED, body=chunked(*pieces)))
    digest = hashlib.sha256(BODY).hexdigest()
    assert [record.sha256 for record in await door.upstream.server.wait_records(2)] == [digest, digest]


async def test_continue_is_answered_before_the_body(door: Any) -> None:
    client = await door.served.open()
    client.send(raw("POST", CHAT, JSON, f"content-length: {len(BODY)}", "expect: 100-continue"))
    await client.until(lambda: client.reader.current.interim == [100])
    await client.push(BODY)
    assert (await client.reply()).status == 200
    client.leave()


async def test_a_body_that_will_be_refused_is_not_asked_for(door: Any) -> None:
    client = await door.served.open()
    client.send(raw("POST", CHAT, JSON, f"content-length: {LIMIT + 1}", "expect: 100-continue"))
    reply = await client.reply()
    assert (reply.status, reply.interim) == (413, [])
    client.leave()


async def test_pipelined_requests_are_answered_in_order(door: Any) -> None:
    client = await door.served.open()
    paths = ("/v1/models", "/healthz", "/v2/none", "/v1/models/llama")
    client.send(raw("GET", paths[0]))
    slow, *rest = chat({"ttft": 0.1}), *(raw("GET", path) for path in paths)
    for _ in rest:
        client.reader.expect("GET")
    client.reader.expect("POST")
    client.transport.write(slow + b"".join(rest))
    replies = [await client.reply() for _ in range(6)]
    assert [reply.status for reply in replies] == [200, 200, 200, 200, 404, 200]
    assert replies[1].json["object"] == "chat.completion"
    assert replies[3].json == {"status": "ok"}
    assert replies[5].json["id"] == "llama"
    client.leave()


async def test_a_head_request_has_no_body_and_leaves_the_connection_in_step(door: Any) -> None:
    client = await door.served.open()
    reply = await client.ask(raw("HEAD", "/v1/models"))
    assert reply.status == 405
    assert reply.body == b""
    assert reply.status not in BODILESS
    assert (await client.ask(raw("GET", "/healthz"))).json == {"status": "ok"}
    client.leave()


async def test_keep_alive_carries_many_exchanges(door: Any) -> None:
    client = await door.served.open()
    ids = set()
    for number in range(20):
        reply = await client.ask(chat(stream=bool(number % 2)))
        assert reply.status == 200
        ids.add(reply.header("x-request-id"))
    assert len(ids) == 20
    client.leave()


async def test_a_request_id_is_ours_and_the_callers_own_is_a_label(door: Any) -> None:
    mine = [("x-request-id", "req_" + "0" * 32)]
    body = {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}
    requests = [post(body, headers=mine), post(body | {"stream": True}, headers=mine), post({}, headers=mine)]
    replies = [await door.served.ask(request) for request in requests]
    assert [reply.status for reply in replies] == [200, 200, 400]
    ids = [reply.header("x-request-id") for reply in replies]
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", text or "") for text in ids)
    assert mine[0][1] not in ids
    assert len(set(ids)) == 3
    records = await door.served.records.wait(3)
    assert [record.id for record in records] == ids
    assert {record.label for record in records} == {mine[0][1]}


async def test_the_label_is_bounded(door: Any) -> None:
    await door.served.ask(raw("GET", "/healthz", "x-request-id: " + "é" * 3000))
    (record,) = await door.served.records.wait(1)
    assert record.label is not None
    assert len(record.label) == 128


async def test_a_streamed_answer_has_the_head_of_the_wire_contract(door: Any) -> None:
    reply = await door.served.ask(chat(stream=True))
    assert reply.header("content-type") == "text/event-stream; charset=utf-8"
    assert reply.header("cache-control") == "no-cache"
    assert reply.header("x-accel-buffering") == "no"
    assert reply.header("content-length") is None
    assert reply.header("content-encoding") is None
    assert reply.header("transfer-encoding") == "chunked"
    assert re.fullmatch(r"req_[0-9a-f]{32}", reply.header("x-request-id") or "")
    assert reply.whole
    assert reply.done == 1
    assert reply.events[-1] == b"[DONE]"


@pytest.mark.alone
async def test_events_are_neither_merged_nor_cut(door: Any) -> None:
    """One chunk per write of the model server: its first and its last two events come in one write each."""
    reply = await door.served.ask(chat({"rate": 50.0, "tokens": 10}, stream=True))
    assert all(chunk.endswith(b"\n\n") for chunk in reply.chunks)
    assert len(reply.events) == 13
    assert len(reply.chunks) >= 10
