"""Every switch that changes the status, the head or the framing, seen on the wire."""

import asyncio
import base64

import pytest

from backends.mock import Fault
from backends.mock.outlet import cut_pieces


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504, 529, 200])
async def test_status(mock, status):
    reply = await mock.stream(Fault(status=status, error_code="told"))
    assert reply.status == status
    assert set(reply.json["error"]) == {"message", "type", "param", "code"}
    assert reply.json["error"]["code"] == "told"
    record = (await mock.server.wait_records(1))[0]
    assert (record.status, record.tokens, record.closed_by) == (status, 0, "done")


@pytest.mark.parametrize(
    ("kind", "content_type", "body"),
    [("html", "text/html", b"<html>"), ("text", "text/plain", b"An error"), ("empty", "text/plain", b"")],
)
@pytest.mark.parametrize("status", [200, 502])
async def test_error_body(mock, kind, content_type, body, status):
    reply = await mock.chat(Fault(status=status, error_body=kind))
    assert (reply.status, reply.headers["content-type"]) == (status, content_type)
    assert reply.body.startswith(body)
    assert bool(reply.body) == (kind != "empty")


async def test_error_in_the_anthropic_dialect(mock):
    reply = await mock.fetch({"model": "mock-model", "mock": {"status": 529}}, "/v1/messages")
    assert reply.json["error"]["type"] == "overloaded_error"
    assert reply.json["type"] == "error"
    assert reply.headers["request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("value", "shown"), [(20, "20"), (0.5, "0.5"), ("Wed, 21 Oct 2026 07:28:00 GMT",) * 2, ("soon", "soon")]
)
async def test_retry_after(mock, value, shown):
    reply = await mock.chat(Fault(status=429, retry_after=value, retry_after_ms=1500.5))
    assert reply.headers["retry-after"] == shown
    assert reply.headers["retry-after-ms"] == "1500.5"


async def test_headers_go_out_as_they_are(mock):
    fault = Fault(headers=(("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-ratelimit-remaining-tokens", "-1")))
    head = (await mock.chat(fault)).head
    assert head.count(b"set-cookie: ") == 2
    assert b"x-ratelimit-remaining-tokens: -1" in head
    assert b"location: http://other.example/" in (await mock.chat(
        Fault(status=302, headers={"location": "http://other.example/"}))).head  # fmt: skip


async def test_content_type(mock):
    assert (await mock.stream(Fault(content_type="text/html"))).headers["content-type"] == "text/html"


@pytest.mark.parametrize(("value", "statuses"), [(True, [100]), ((100, 103, 100), [100, 103, 100])])
async def test_continue_100(mock, value, statuses):
    reply = await mock.chat(Fault(continue_100=value))
    heads = reply.raw.split(b"\r\n\r\n")
    assert [int(head[9:12]) for head in heads[: len(statuses)]] == statuses
    assert heads[len(statuses)].startswith(b"HTTP/1.1 200 OK")


async def test_big_headers(mock):
    assert len((await mock.chat(Fault(big_headers=300_000))).headers["x-mock-big"]) == 300_000


async def test_many_headers(mock):
    assert (await mock.chat(Fault(many_headers=1000))).head.count(b"\r\nx-mock-") == 1000


async def test_header_injection(mock):
    head = (await mock.chat(Fault(header_injection=True))).head
    assert b"x-mock-note: a\nset-cookie: injected=1\rlocation: http://injected.example/\x00" in head


async def test_early_head_leaves_before_the_first_token(mock, chat_of):
    tap = await mock.send(chat_of(Fault(early_head=True, ttft=5.0), stream=True))
    raw = await tap.until(lambda raw: raw.endswith(b"\r\n\r\n"))
    assert raw.startswith(b"HTTP/1.1 200")
    assert await tap.silent()


async def test_without_early_head_it_waits_for_the_first_token(mock, chat_of):
    tap = await mock.send(chat_of(Fault(ttft=5.0), stream=True))
    assert await tap.silent()
    assert tap.raw == b""


async def test_chunked_body(mock):
    reply = await mock.chat(Fault(chunked=True))
    assert reply.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in reply.headers
    assert reply.json["object"] == "chat.completion"


@pytest.mark.parametrize("stream", [True, False])
async def test_chunked_trailers(mock, stream):
    reply = await (mock.stream if stream else mock.chat)(Fault(chunked_trailers=True))
    assert reply.headers["trailer"] == "x-mock-trailer, x-mock-events"
    assert reply.raw.endswith(b"\r\n0\r\nx-mock-trailer: 1\r\nx-mock-events: done\r\n\r\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_close_delimited(mock, chat_of, stream):
    tap = await mock.send(chat_of(Fault(close_delimited=True), stream=stream))
    assert await tap.end() == "fin"
    head, _, body = tap.raw.partition(b"\r\n\r\n")
    assert b"content-length" not in head
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body.endswith(b"data: [DONE]\n\n" if stream else b"}")


@pytest.mark.parametrize("stream", [True, False])
async def test_short_body(mock, chat_of, stream):
    tap = await mock.send(chat_of(Fault(short_body=7), stream=stream))
    assert await tap.end() == "fin"
    head, _, body = tap.raw.partition(b"\r\n\r\n")
    assert int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]) == len(body) + 7


async def test_trailing_bytes(mock, chat_of, request_of):
    tap = await mock.send(chat_of(Fault(trailing_bytes=5)))
    raw = await tap.until(lambda raw: raw.endswith(b"}" + b"\x00" * 5))
    assert raw.startswith(b"HTTP/1.1 200 OK")
    tap.transport.write(request_of(chat_of()))
    await tap.until(lambda raw: raw.count(b"HTTP/1.1 200 OK") == 2)


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_raw(mock, chat_of, how):
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc"
    fault = {"raw": base64.b64encode(answer).decode(), "how": how}
    tap = await mock.send(chat_of() | {"mock": fault})
    assert await tap.end() == how
    assert tap.raw == answer


async def test_garbage(mock):
    reply = await mock.chat(Fault(garbage=True))
    assert reply.raw
    assert not reply.raw.startswith(b"HTTP/")
    record = (await mock.server.wait_records(1))[0]
    assert (record.status, record.closed_by) == (0, "server")


@pytest.mark.parametrize("stream", [True, False])
async def test_split_in_pieces_of_n_bytes(mock, stream):
    reply = await (mock.stream if stream else mock.chat)(Fault(split=3, split_pause=0.001))
    assert max(len(read) for read in reply.reads) <= 3 * 4, "some reads may join, most must not"
    assert sorted(len(read) for read in reply.reads)[len(reply.reads) // 2] == 3
    assert reply.json["object"] if not stream else reply.data[-1] == b"[DONE]"


async def test_split_at_offsets(mock):
    whole = await mock.stream()
    reply = await mock.stream(Fault(split=(1, 7), split_pause=0.005))
    first = reply.raw.partition(b"\r\n\r\n")[2].split(b"\r\n0\r\n")[0]
    assert first
    assert len(reply.reads) >= 2.5 * len(whole.chunks)
    lengths = [len(read) for read in reply.reads]
    assert lengths[:2] == [1, 6]


@pytest.mark.parametrize(
    ("split", "pieces"),
    [(2, [b"ab", b"cd", b"e"]), (9, [b"abcde"]), ((1, 3), [b"a", b"bc", b"de"]), ((0, 5, 9), [b"abcde"])],
)
def test_pieces(split, pieces):
    assert list(cut_pieces(b"abcde", split)) == pieces


async def test_slow_bytes(mock):
    loop = asyncio.get_running_loop()
    begun = loop.time()
    reply = await mock.chat(Fault(slow_bytes=4000))
    taken = loop.time() - begun
    assert taken >= len(reply.raw) / 4000 - 0.02, "the first piece leaves at once, the others each 20 ms"
    assert len(reply.reads) >= 3, "a busy machine may join some pieces in one read"


async def test_early_response_comes_before_the_body(mock, chat_of, request_of):
    mock.server.script([Fault(early_response=True, status=413)], times=1)
    request = request_of(chat_of(text="x" * 1000))
    tap = await mock.connect()
    tap.transport.write(request[:-500])
    raw = await tap.until(lambda raw: raw.endswith(b"}"))
    assert raw.startswith(b"HTTP/1.1 413")
    assert mock.server.records == []
    tap.transport.write(request[-500:] + request_of(chat_of()))
    await tap.until(lambda raw: b"HTTP/1.1 200 OK" in raw)
    first = (await mock.server.wait_records(2))[0]
    assert first.body_length == len(request.partition(b"\r\n\r\n")[2])
