"""Answers that are cut, malformed, too large or hostile (rows F10, F11, F12, F13 of the fault matrix)."""

import socket
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from backends.mock import Fault
from loadtest.faultd import Cut
from loadtest.rig import Bench, Conversation, assert_broken, assert_complete, assert_refused, chat

MIB = 1 << 20


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
endings = pytest.mark.parametrize("how", ["fin", "rst"])


# -- F10 truncated framing


@both
@endings
async def test_F10_short_body_is_never_a_200(bench: Bench, how: Any, stream: bool) -> None:
    """A body shorter than its Content-Length or its chunk: nothing of it was delivered, another endpoint answers."""
    fault = Fault(content_length_sse=stream, short_body=100, cut_at_byte=300, how=how)
    served, first, second = await bench.pair(fault)
    assert_complete(await served.ask(chat(stream=stream)), stream)
    assert (first.asked, second.asked) == (1, 1)


async def test_F10_short_body_without_an_alternative(bench: Bench) -> None:
    served, _ = await bench.single(Fault(short_body=10))
    reply = await served.ask(chat())
    assert_refused(reply, 502, "upstream_error")
    assert b"choices" not in reply.body


@endings
async def test_F10_chunk_cut_mid_frame(bench: Bench, how: Any) -> None:
    upstream = await bench.mock(tokens=10)
    direct = await Conversation.open(upstream.port)
    whole = await direct.ask(chat(stream=True))
    size = direct.received
    direct.leave()
    proxy, port = await bench.proxy(upstream.port)
    served = await bench.gateway(f"http://127.0.0.1:{port}/v1")
    for cut in (size // 2, size // 2 + 7, size - 20):
        proxy.set_rules([Cut(after_bytes=cut, how=how)])
        reply = await served.ask(chat(stream=True))
        assert_broken(reply, "upstream_disconnected")
        assert whole.text.startswith(reply.text)
        assert reply.text


async def test_F10_a_cut_behind_the_last_event_is_complete(bench: Bench) -> None:
    """[DONE] is there, only the end of the chunked body is missing: the caller has everything."""
    upstream = await bench.mock()
    direct = await Conversation.open(upstream.port)
    request = chat(stream=True, stream_options={"include_usage": True})
    await direct.ask(request.replace(b"\r\n\r\n", b"\r\nendpoint-load-metrics-format: TEXT\r\n\r\n", 1))
    direct.leave()
    proxy, port = await bench.proxy(upstream.port)
    served = await bench.gateway(f"http://127.0.0.1:{port}/v1")
    for how in ("fin", "rst", "stall"):
        proxy.set_rules([Cut(after_bytes=direct.received - len(b"0\r\n\r\n"), how=how)])
        assert_complete(await served.ask(request), stream=True)
    assert {record.outcome for record in served.records.all} == {"complete"}


async def test_F10_a_stop_without_done_is_not_made_complete(bench: Bench) -> None:
    """finish_reason came and then silence: whether more was to come is not known."""
    served, _ = await bench.single(Fault(stall_after="end"), timeouts={"idle": 0.3})
    assert_broken(await served.ask(chat(stream=True)), "stream_timeout")


# -- F11 malformed streams

#: fault -> what the caller sees: "next" (another endpoint answers), "complete", or a code of the in-band error.
MALFORMED: tuple[tuple[str, Fault, str], ...] = (
    ("bad-json-first", Fault(bad_json_event=0), "next"),
    ("bad-json-later", Fault(bad_json_event=3), "upstream_error"),
    ("error-first", Fault(in_band_error=0), "next"),
    ("error-later", Fault(in_band_error=3), "upstream"),
    ("no-blank-line", Fault(no_blank_line=True), "complete"),
    ("no-done", Fault(no_done=True), "complete"),
    ("two-dones", Fault(duplicate_done=True), "complete"),
    ("crlf", Fault(crlf=True), "complete"),
    ("cr", Fault(cr=True), "complete"),
    ("bom", Fault(bom=True), "complete"),
    ("comments", Fault(comments=True), "complete"),
    ("multi-line-data", Fault(multi_line_data=True), "complete"),
    ("html", Fault(status=200, error_body="html"), "next"),
    ("text", Fault(status=200, error_body="text"), "next"),
    ("empty", Fault(status=200, error_body="empty"), "next"),
    ("error-under-200", Fault(status=200), "next"),
    ("json-not-sse", Fault(json_not_sse=True), "next"),
    ("wrong-content-type", Fault(content_type="text/html"), "next"),
    ("gzip", Fault(gzip=True), "next"),
    ("garbage", Fault(garbage=True), "next"),
    ("no-answer", Fault(raw=b""), "next"),
    ("head-only", Fault(raw=b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"), "next"),
    ("done-only", Fault(raw=b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: [DONE]\n\n"), "next"),
    ("content-length", Fault(content_length_sse=True), "complete"),
    ("close-delimited", Fault(close_delimited=True), "complete"),
    ("trailers", Fault(chunked_trailers=True), "complete"),
    ("rubbish-behind", Fault(trailing_bytes=50), "complete"),
    ("1xx-first", Fault(continue_100=(100, 103)), "complete"),
    ("early-response", Fault(early_response=True, status=200), "next"),
)


@pytest.mark.parametrize(("fault", "seen"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
async def test_F11_malformed_stream(bench: Bench, fault: Fault, seen: str) -> None:
    served, first, second = await bench.pair(fault)
    direct = await Conversation.open(second.port)
    sound = await direct.ask(chat(stream=True))
    direct.leave()
    reply = await served.ask(chat(stream=True))
    assert first.asked == 1
    if seen in ("next", "complete"):
        assert_complete(reply, stream=True)
        assert reply.text == sound.text
        assert second.asked == 1 + (seen == "next")
        return
    assert second.asked == 1
    error = reply.in_band
    assert error is not None
    assert reply.done == 0
    assert len(reply.frames) == 4
    assert sound.text.startswith(reply.text)
    if seen != "upstream":
        assert error["code"] == seen


@pytest.mark.parametrize(
    "fault",
    [
        Fault(sse_not_json=True),
        Fault(status=200, error_body="html"),
        Fault(status=200, error_body="empty"),
        Fault(status=200),
        Fault(gzip=True),
        Fault(garbage=True),
        Fault(raw=b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{'a': 1}\n"),
        Fault(raw=b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\nnull"),
        Fault(raw=b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
    ids=["sse", "html", "empty", "error-under-200", "gzip", "garbage", "quotes", "null", "204"],
)
async def test_F11_malformed_whole_answer(bench: Bench, fault: Fault) -> None:
    served, first, second = await bench.pair(fault)
    assert_complete(await served.ask(chat()), stream=False)
    assert (first.asked, second.asked) == (1, 1)
    alone, _ = await bench.single(fault)
    assert_refused(await alone.ask(chat()), 502, "upstream_error")


async def test_F11_raw_bytes_are_never_passed_on(bench: Bench) -> None:
    served, _ = await bench.single(Fault(bad_json_event=3))
    reply = await served.ask(chat(stream=True))
    for event in reply.events:
        assert event.startswith(b"{")
        assert event.endswith(b"}")
    assert_broken(reply, "upstream_error", 3)


# -- F12 too much of it


async def test_F12_an_event_of_almost_a_mebibyte_passes(bench: Bench) -> None:
    served, _ = await bench.single(Fault(huge_event=MIB - 1024))
    reply = await served.ask(chat(stream=True))
    assert_complete(reply, stream=True)
    assert len(reply.text) >= MIB - 1024


async def test_F12_a_larger_event_is_an_upstream_fault(bench: Bench) -> None:
    served, _, second = await bench.pair(Fault(huge_event=MIB + 1024))
    reply = await served.ask(chat(stream=True))
    assert reply.whole
    if second.asked:
        assert_complete(reply, stream=True)
    else:
        assert_broken(reply, "upstream_error")
    assert len(reply.body) < MIB


async def test_F12_an_endless_line(bench: Bench) -> None:
    """Nothing was delivered: the next endpoint; without one, 502. The 4 MiB are not waited for."""
    fault = Fault(endless_line=4 * MIB)
    served, first, _ = await bench.pair(fault)
    assert_complete(await served.ask(chat(stream=True)), stream=True)
    (seen,) = await first.server.wait_records(1)
    assert seen.closed_by == "client"
    assert served.in_flight == []
    alone, _ = await bench.single(fault)
    assert_refused(await alone.ask(chat(stream=True)), 502, "upstream_error")


async def test_F12_a_whole_answer_over_the_limit(bench: Bench) -> None:
    served, first = await bench.single(Fault(tokens=100_000), limits={"response_body": 64 * 1024})
    assert_refused(await served.ask(chat()), 502, "upstream_error")
    (seen,) = await first.server.wait_records(1)
    assert seen.bytes_sent > 64 * 1024


async def test_F12_a_firehose_arrives_whole(bench: Bench) -> None:
    served, first = await bench.single(Fault(firehose=20_000))
    request = chat(stream=True, max_tokens=1_000_000, stream_options={"include_usage": True})
    reply = await served.ask(request)
    assert_complete(reply, stream=True)
    (seen,) = await first.server.wait_records(1)
    assert reply.text == seen.content[0]
    assert len(reply.events) == seen.events_sent


@pytest.mark.alone
def test_F12_others_are_served_beside_a_firehose(mock_process: Any, gateway_process: Any) -> None:
    """One stream as fast as the model server can, and a health probe on the same worker: p99 < 20 ms."""
    mock = mock_process("--model", "llama")
    endpoint = {"url": mock.url, "tier": "L1", "api_key": "${UPSTREAM_KEY}"}
    node = gateway_process({"models": [{"name": "llama", "endpoints": [endpoint]}]})
    port = urlsplit(node.url).port
    request = chat({"firehose": 10_000_000}, key=node.key, stream=True, max_tokens=10_000_000)
    reader = (
        "import socket, sys\n"
        f"sock = socket.create_connection(('127.0.0.1', {port}))\n"
        "sock.sendall(sys.stdin.buffer.read())\n"
        "while sock.recv(1 << 20): print('.', end='', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", reader], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(request)
        child.stdin.close()
        child.stdout.read(5)
        took = []
        with socket.create_connection(("127.0.0.1", port)) as sock:
            for _ in range(200):
                started = time.perf_counter()
                sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: g\r\n\r\n")
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
                took.append(time.perf_counter() - started)
        child.kill()
    assert sorted(took)[197] < 0.02, f"p99 {sorted(took)[197] * 1e3:.1f} ms, median {sorted(took)[100] * 1e3:.1f} ms"


# -- F13 hostile heads

HOSTILE: tuple[tuple[str, Fault], ...] = (
    ("header-of-256-kib", Fault(big_headers=256 * 1024)),
    ("1000-headers", Fault(many_headers=1000)),
    ("injection", Fault(header_injection=True)),
    ("redirect", Fault(status=302, headers={"location": "http://evil.example/v1"})),
    ("redirect-307", Fault(status=307, headers={"location": "http://evil.example/v1"})),
    ("two-lengths", Fault(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x")),
    ("switching", Fault(raw=b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n")),
    ("http-2", Fault(raw=b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\n{}")),
    ("bad-chunk", Fault(raw=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")),
    (
        "both-framings",
        Fault(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ),
)


@both
@pytest.mark.parametrize("fault", [row[1] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
async def test_F13_hostile_head(bench: Bench, fault: Fault, stream: bool) -> None:
    served, first, second = await bench.pair(fault)
    assert_complete(await served.ask(chat(stream=stream)), stream)
    assert (first.asked, second.asked) == (1, 1)
    alone, _ = await bench.single(fault)
    reply = await alone.ask(chat(stream=stream))
    assert_refused(reply, 502, "upstream_error")
    assert reply.header("location") is None
    assert b"evil" not in reply.body


async def test_F13_a_redirect_to_another_host_is_never_followed(bench: Bench) -> None:
    other = await bench.mock()
    location = {"location": f"{other.url}/chat/completions"}
    served, _ = await bench.single(Fault(status=307, headers=location))
    assert_refused(await served.ask(chat()), 502, "upstream_error")
    assert other.server.connections == 0
    assert other.asked == 0


@both
async def test_F13_only_listed_headers_pass(bench: Bench, stream: bool) -> None:
    extra = {"set-cookie": "a=b", "x-internal": "1", "server": "llm/1", "connection": "x-internal", "via": "1.1 x"}
    served, _ = await bench.single(Fault(headers=extra))
    reply = await served.ask(chat(stream=stream))
    assert_complete(reply, stream)
    names = {name for name, _ in reply.headers}
    assert not names & {"set-cookie", "x-internal", "via"}
    assert reply.header("server") != "llm/1"
