"""F17: TLS of a model server that is expired, wrongly named, unknown, silent, or cut without a close_notify."""

import asyncio
import datetime
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from loadtest.rig import Bench, Reply, chat

PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.file)

    def context(self, *names: str, **more: Any) -> ssl.SSLContext:
        """A server's side with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names, **more).configure_cert(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def url(port: int) -> str:
    return f"https://localhost:{port}/v1"


def make_bad(kind: str, authority: Authority, folder: Path) -> ssl.SSLContext:
    match kind:
        case "expired":
            return authority.context("localhost", not_before=PAST, not_after=PAST + datetime.timedelta(days=1))
        case "wrong-name":
            return authority.context("other.example")
        case "unknown-ca":
            (folder / "other").mkdir()
            return Authority(folder / "other").context("localhost")
        case "old-protocol":
            context = authority.context("localhost")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
            context.set_ciphers("ALL:@SECLEVEL=0")
            return context
    raise AssertionError(kind)


def causes(kind: str) -> list[list[str]]:
    """What the record may say. A server that gives a handshake up may do so without an alert."""
    told = ["e0 tls connect"]
    return [told, ["e0 connect connect"]] if kind == "old-protocol" else [told]


BAD = ["expired", "wrong-name", "unknown-ca", "old-protocol"]


@both
async def test_F17_a_good_certificate(bench: Bench, authority: Authority, stream: bool) -> None:
    upstream = await bench.mock(tls=authority.context("localhost"))
    served = await bench.gateway(url(upstream.port), ca_file=authority.file)
    for _ in range(3):
        reply = await served.ask(chat(stream=stream))
        assert reply.status == 200
        assert reply.done == stream
    assert upstream.server.connections == 1, "kept alive"


@both
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", BAD)
async def test_F17_a_bad_certificate(
    bench: Bench, authority: Authority, tmp_path: Path, kind: str, stream: bool
) -> None:
    bad = await bench.mock(tls=make_bad(kind, authority, tmp_path))
    good = await bench.mock(tls=authority.context("localhost"))
    served = await bench.gateway(url(bad.port), url(good.port), ca_file=authority.file)
    reply = await served.ask(chat(stream=stream))
    assert reply.status == 200
    assert (bad.asked, good.asked) == (0, 1)
    (record,) = await served.records.wait(1)
    assert record.failures in causes(kind)
    alone = await bench.gateway(url(bad.port), ca_file=authority.file)
    refused = await alone.ask(chat(stream=stream))
    assert (refused.status, refused.error["code"]) == (502, "upstream_error")
    assert b"certificate" not in refused.body, "how our side is set up is not the caller's business"
    assert bad.asked == 0


async def test_F17_the_systems_authorities_do_not_know_ours(bench: Bench, authority: Authority) -> None:
    upstream = await bench.mock(tls=authority.context("localhost"))
    served = await bench.gateway(url(upstream.port))
    assert (await served.ask(chat())).status == 502
    assert upstream.asked == 0


class Listener:
    """A socket that takes connections and does with them as told; keeps what it received."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.port = 0

    async def start(self, serve: Callable[..., Any], tls: ssl.SSLContext | None = None) -> asyncio.Server:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        return server


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def mute(stack: AsyncExitStack) -> Listener:
    """Accepts, reads, says nothing until the other side leaves."""
    listener = Listener()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            listener.received.append(data)
        writer.close()

    server = await listener.start(serve)
    stack.callback(server.close)
    return listener


@pytest.mark.alone
@both
async def test_F17_the_handshake_stalls(
    bench: Bench, authority: Authority, stack: AsyncExitStack, stream: bool
) -> None:
    silent = await mute(stack)
    good = await bench.mock(tls=authority.context("localhost"))
    timeouts = {"connect": 0.4}
    served = await bench.gateway(url(silent.port), url(good.port), ca_file=authority.file, timeouts=timeouts)
    started = time.monotonic()
    assert (await served.ask(chat(stream=stream))).status == 200
    assert time.monotonic() - started < 1.5
    alone = await bench.gateway(url(silent.port), ca_file=authority.file, timeouts=timeouts)
    assert (await alone.ask(chat(stream=stream))).status == 502
    heard = b"".join(silent.received)
    assert heard.startswith(b"\x16\x03"), "a TLS handshake record"
    assert b"POST" not in heard


async def test_F17_no_plaintext_fall_back(bench: Bench, authority: Authority) -> None:
    """The port speaks plain HTTP: the handshake fails, and nothing of the request was sent in the clear."""
    plain = await bench.mock()
    served = await bench.gateway(url(plain.port), ca_file=authority.file)
    reply = await served.ask(chat())
    assert (reply.status, reply.error["code"]) == (502, "upstream_error")
    assert plain.asked == 0


async def test_F17_a_plain_url_to_a_tls_port_is_an_upstream_error(bench: Bench, authority: Authority) -> None:
    upstream = await bench.mock(tls=authority.context("localhost"))
    served = await bench.gateway(f"http://127.0.0.1:{upstream.port}/v1")
    assert (await served.ask(chat())).status == 502


async def rude(stack: AsyncExitStack, authority: Authority, answer: bytes) -> Listener:
    """Answers over TLS and closes the socket below it: no close_notify."""
    listener = Listener()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as below:
            below.shutdown(socket.SHUT_RDWR)
        writer.transport.abort()

    server = await listener.start(serve, authority.context("localhost"))
    stack.callback(server.close)
    return listener


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nconnection: close\r\n"
BODY = b'{"id":"x","object":"chat.completion","choices":[],"usage":null}'
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'


async def ask_rude(
    bench: Bench, stack: AsyncExitStack, authority: Authority, answer: bytes, stream: bool
) -> tuple[Reply, int]:
    """The reply, and how often a second, sound endpoint was asked."""
    first, second = await rude(stack, authority, answer), await bench.mock(tls=authority.context("localhost"))
    served = await bench.gateway(url(first.port), url(second.port), ca_file=authority.file)
    return await served.ask(chat(stream=stream)), second.asked


async def test_F17_without_close_notify_a_declared_length_is_enough(
    bench: Bench, authority: Authority, stack: AsyncExitStack
) -> None:
    answer = HEAD % b"application/json" + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    reply, others = await ask_rude(bench, stack, authority, answer, stream=False)
    assert (reply.status, reply.body, others) == (200, BODY, 0)


@pytest.mark.parametrize("body", [BODY[:-10], BODY], ids=["cut", "whole"])
async def test_F17_without_close_notify_the_end_of_a_whole_answer_is_not_believed(
    bench: Bench, authority: Authority, stack: AsyncExitStack, body: bytes
) -> None:
    """Delimited by the connection's end, which anyone on the path can forge: that it makes sense proves nothing."""
    answer = HEAD % b"application/json" + b"\r\n" + body
    reply, others = await ask_rude(bench, stack, authority, answer, stream=False)
    assert (reply.status, others) == (200, 1)
    assert reply.json["choices"]


async def test_F17_without_close_notify_a_cut_stream_is_broken(
    bench: Bench, authority: Authority, stack: AsyncExitStack
) -> None:
    answer = HEAD % b"text/event-stream" + b"\r\n" + EVENT
    reply, others = await ask_rude(bench, stack, authority, answer, stream=True)
    assert (reply.text, reply.done, others) == ("Hi", 0, 0)
    assert reply.in_band is not None
    assert reply.in_band["code"] == "upstream_disconnected"


async def test_F17_without_close_notify_a_finished_stream_is_complete(
    bench: Bench, authority: Authority, stack: AsyncExitStack
) -> None:
    answer = HEAD % b"text/event-stream" + b"\r\n" + EVENT + b"data: [DONE]\n\n"
    reply, others = await ask_rude(bench, stack, authority, answer, stream=True)
    assert (reply.text, reply.done, others) == ("Hi", 1, 0)
