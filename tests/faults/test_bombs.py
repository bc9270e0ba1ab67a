"""F46: requests that are huge or that grow: refused early, little of them read, and nobody else waits.

What the gateway has read of a connection is told by the kernel: what was sent less what lies in either socket's queue.
The limit of a JSON body is 256 KiB here; no bomb may make the gateway read more than its limit and 64 KiB, what it
reads away behind its refusal included. Senders send piece by piece: the pieces in which a limit is crossed count whole.
"""

import asyncio
import fcntl
import gzip
import os
import select
import socket
import struct
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import pytest

from loadtest.rig import Bench, Conversation, chat, post
from loadtest.rig.node import port_of

LIMIT = 256 * 1024
PIECE = 2 * 1024
#: 64 KiB, the piece that crosses the limit, the piece that ends the reading behind the refusal, and a head.
SLACK = 64 * 1024 + 2 * PIECE + 512
#: What a head may have: 64 KiB at the native door; Granian's hyper holds up to its buffer, which is twice that.
HEAD_LIMIT = {"native": 64 * 1024, "granian": 128 * 1024}
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def opened(door: str, bench: Bench) -> Any:
    """The door's name, a gateway behind it and the mock behind that."""
    upstream = await bench.mock()
    return door, await bench.gateway(upstream.url, limits={"json_body": LIMIT}), upstream


@dataclass
class Poured:
    """What a sender saw who goes on until it is stopped. read: bytes the gateway took, the last piece uncertain."""

    read: int
    answer: bytes

    @property
    def status(self) -> int:
        return int(self.answer.split(b" ", 2)[1]) if self.answer.startswith(b"HTTP/1.1 ") else 0


async def pour(port: int, pieces: Iterator[bytes], most: int) -> Poured:
    """Sends piece after piece, each once the one before was read, answer or no answer, until the connection ends,
    nothing is read any more for half a second, or `most` bytes are read."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    while (server := server_side(sock)) < 0:
        await asyncio.sleep(0.001)
    sent, read, answer = 0, 0, b""
    try:
        for piece in pieces:
            await loop.sock_sendall(sock, piece)
            sent += len(piece)
            left = await until_read(sock, server)
            answer += receive(sock)
            read = sent - left
            if left or read > most:
                break
    except OSError:
        pass  # cut off: the piece that met the cut was not read
    answer += receive(sock)
    sock.close()
    return Poured(read, answer)


async def until_read(sock: socket.socket, server: int) -> int:
    """Waits until all that was sent is read; the bytes that still were not after half a second."""
    await asyncio.sleep(0)
    end = time.monotonic() + 0.5
    while (left := waiting(sock.fileno(), termios.TIOCOUTQ) + waiting(server, termios.FIONREAD)) > 0:
        if time.monotonic() > end:
            break
        await asyncio.sleep(0.002)
    return left


def waiting(descriptor: int, queue: int) -> int:
    """Bytes in one queue of a socket, 0 when it is closed."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(descriptor, queue, b"\0" * 4))[0])
    except OSError:
        return 0


def server_side(sock: socket.socket) -> int:
    """The descriptor of the gateway's end of a connection, which is in this process; -1 before it is accepted."""
    for name in os.listdir("/proc/self/fd"):
        try:
            other = socket.socket(fileno=int(name))
        except OSError:
            continue  # no socket
        try:
            if other.family == socket.AF_INET and other.getpeername() == sock.getsockname():
                return int(name)
        except OSError:
            continue  # not connected
        finally:
            other.detach()
    return -1


def receive(sock: socket.socket) -> bytes:
    """What has come, without waiting."""
    try:
        return sock.recv(1 << 20)
    except OSError:
        return b""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def is_well(served: Any, upstream: Any, asked: int = 0) -> None:
    """Nothing went through, and the next caller is served."""
    assert upstream.asked == asked
    assert (await served.ask(chat())).status == 200
    assert served.in_flight == []


# -- heads


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (POST + b"X: ", {"native": 431, "granian": 431}),
        (POST + b"X", {"native": 431, "granian": 431}),
        (b"GET /", {"native": 431, "granian": 431}),
        (b"A" * 20, {"native": 431, "granian": 431}),
    ],
    ids=["value", "name", "target", "method"],
)
async def test_F46_a_giant_head(opened: Any, start: bytes, status: dict[str, int]) -> None:
    """One line without end."""
    door, served, upstream = opened
    poured = await pour(served.port, chain([start], repeat(b"a" * PIECE)), 4 << 20)
    assert poured.status == status[door]
    assert poured.read <= HEAD_LIMIT[door] + SLACK
    await is_well(served, upstream)


async def test_F46_a_giant_head_of_small_fields(opened: Any) -> None:
    door, served, upstream = opened
    fields = (b"X-%07d: %b\r\n" % (number, b"y" * 1000) for number in range(10_000))
    poured = await pour(served.port, chain([POST], fields), 4 << 20)
    assert poured.status == 431
    assert poured.read <= HEAD_LIMIT[door] + SLACK
    await is_well(served, upstream)


async def test_F46_too_many_fields(opened: Any) -> None:
    """One over what either door takes (128 native, 100 hyper), in a small head."""
    _, served, upstream = opened
    body = b'{"model":"llama","messages":[{"role":"user","content":"a"}]}'
    head = POST + b"".join(b"X-%d: y\r\n" % number for number in range(126)) + b"Content-Length: %d\r\n\r\n" % len(body)
    assert (await served.ask(head + body)).status == 431
    await is_well(served, upstream)


async def test_F46_a_long_target(opened: Any) -> None:
    """A target of 60 KiB in a head that is whole is a path that does not exist; over the limit it is refused."""
    _, served, upstream = opened
    assert (await served.ask(post({}, "/v1/" + "a" * 60_000))).status == 404
    assert (await served.ask(post({}, "/v1/" + "a" * 66_000))).status in (414, 431)
    await is_well(served, upstream)


# -- bodies


async def test_F46_a_giant_body_with_its_length(opened: Any) -> None:
    _, served, upstream = opened
    head = POST + b"Content-Length: %d\r\n\r\n" % (1 << 30)
    poured = await pour(served.port, chain([head], repeat(b" " * PIECE)), 4 << 20)
    assert poured.status == 413
    assert poured.read <= SLACK + PIECE + len(head)
    await is_well(served, upstream)


async def test_F46_a_giant_body_in_chunks(opened: Any) -> None:
    _, served, upstream = opened
    poured = await pour(served.port, chain([CHUNKED], repeat(chunk(b" " * (PIECE - 8)))), 4 << 20)
    assert poured.status == 413
    assert poured.read <= LIMIT + SLACK
    await is_well(served, upstream)


async def test_F46_a_giant_chunk(opened: Any) -> None:
    """The size of one chunk tells what is to come, but is no reason to wait for it."""
    _, served, upstream = opened
    poured = await pour(served.port, chain([CHUNKED + b"40000000\r\n"], repeat(b" " * PIECE)), 4 << 20)
    assert poured.status == 413
    assert poured.read <= LIMIT + SLACK
    await is_well(served, upstream)


def test_F46_a_sender_at_full_speed(gateway_process: Any, door: str) -> None:
    """It does not wait until its pieces are read. How much Granian takes is its own affair: there the connection has to
    end, and that is all that is asked."""
    node = gateway_process({"models": [], "limits": {"json_body": LIMIT}})
    head = b"Authorization: Bearer %b\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n" % node.key.encode()
    with socket.create_connection(("127.0.0.1", port_of(node)), 10) as channel:
        channel.sendall(POST + head)
        if door == "native":
            assert LIMIT < most_taken(channel) <= LIMIT + len(POST + head) + (64 << 10)
        with pytest.raises(ConnectionError):
            channel.sendall(b" " * (64 << 20))


def most_taken(channel: socket.socket) -> int:
    """Bytes that the other process has read when it reads no more, whatever is sent, or ends the connection."""
    read, since = 0, time.monotonic()
    while time.monotonic() - since < 0.3:
        try:
            channel.send(b" " * (1 << 16), socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except ConnectionError:
            break
        now = taken(channel)
        if now > read:
            read, since = now, time.monotonic()
        select.select([], [channel], [], 0.01)
    return read


def taken(channel: socket.socket) -> int:
    """Bytes that the other process has read: what its kernel acknowledged less what waits there."""
    (acknowledged,) = struct.unpack_from("=Q", channel.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 120)
    ours, theirs = channel.getsockname()[1], channel.getpeername()[1]
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table]
    for row in rows[1:]:
        if int(row[1].split(":")[1], 16) == theirs and int(row[2].split(":")[1], 16) == ours:
            return int(acknowledged) - 1 - int(row[4].split(":")[1], 16)  # 1: the SYN
    return 0


async def test_F46_chunk_extensions(opened: Any) -> None:
    """Chunks of one byte under 4 kB of extension each: what is read is framing, which has to be limited as well."""
    _, served, upstream = opened
    poured = await pour(served.port, chain([CHUNKED], repeat(b"1;" + b"x" * 4000 + b"\r\n \r\n")), 1 << 20)
    assert poured.status in (400, 413)
    assert poured.read <= LIMIT + SLACK
    await is_well(served, upstream)


async def test_F46_tiny_chunks(bench: Bench) -> None:
    """Six bytes of wire for each byte of a body: sound HTTP, and bounded by the body's limit all the same."""
    upstream = await bench.mock()
    limit = 16 * 1024
    served = await bench.gateway(upstream.url, limits={"json_body": limit})
    poured = await pour(served.port, chain([CHUNKED], repeat(b"1\r\n \r\n" * 300)), 1 << 20)
    assert poured.status == 413
    assert poured.read <= 6 * limit + SLACK
    await is_well(served, upstream)


async def test_F46_trailers_without_end(opened: Any) -> None:
    _, served, upstream = opened
    body = b'{"model":"llama","messages":[{"role":"user","content":"hi"}]}'
    trailers = (b"X-%d: %b\r\n" % (number, b"y" * 1000) for number in range(10_000))
    poured = await pour(served.port, chain([CHUNKED + chunk(body) + b"0\r\n"], trailers), 4 << 20)
    assert poured.status in (200, 400, 431)
    assert poured.read <= LIMIT + SLACK
    await is_well(served, upstream, asked=int(poured.status == 200))


# -- compressed


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x-gzip", "GZIP"])
async def test_F46_a_compressed_body_is_not_read(opened: Any, coding: str) -> None:
    """100 MB of nothing in 100 kB: refused by its head (docs/reference/http-api.md), nothing is inflated."""
    _, served, upstream = opened
    bomb = gzip.compress(bytes(100_000_000), 1)[: LIMIT // 2]
    spent = time.process_time()
    client = await served.open()
    head = POST + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(bomb))
    reply = await client.ask(head + bomb)
    assert (reply.status, reply.error["code"]) == (415, "unsupported_content_encoding")
    assert time.process_time() - spent < 1.0
    client.leave()
    await is_well(served, upstream)


async def test_F46_a_compressed_transfer_is_not_inflated(opened: Any) -> None:
    """`Transfer-Encoding: gzip, chunked`: refused by the native door, and no JSON behind hyper."""
    _, served, upstream = opened
    body = gzip.compress(b'{"model":"llama","messages":[{"role":"user","content":"hi"}]}')
    reply = await served.ask(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunk(body) + b"0\r\n\r\n")
    assert reply.status == 400
    await is_well(served, upstream)


# -- JSON


DEEP = 100_000
HI = b'"messages":[{"role":"user","content":"a"}]'
START = b'{"model":"llama",' + HI
KEYS = b"".join(b',"k%d":0' % number for number in range(20_000))
BOMBS: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "arrays": (b"[" * DEEP, (400,)),
    "objects": (b'{"a":' * (DEEP // 3), (400,)),
    "closed": (b"[" * DEEP + b"]" * DEEP, (400,)),
    "inside": (b'{"model":"llama","messages":' + b"[" * DEEP + b"]" * DEEP + b"}", (400,)),
    "in-an-unknown-field": (START + b',"x":' + b"[" * DEEP + b"]" * DEEP + b"}", (400,)),
    "mixed": (b'{"messages":' + b'[{"a":' * 30_000 + b"1" + b"}]" * 30_000 + b"}", (400,)),
    "a-number": (START + b',"n":' + b"9" * 200_000 + b"}", (200, 400)),
    "an-exponent": (START + b',"n":1e' + b"9" * 10_000 + b"}", (200, 400)),
    "keys": (START + KEYS + b"}", (200, 400)),
    "same-keys": (b'{"model":"llama",' + (HI + b",") * 5_000 + b'"n":1}', (400,)),
    "escapes": (START + b',"x":"' + b"\\u0041" * 40_000 + b'"}', (200,)),
    "surrogates": (START + b',"x":"' + b"\\ud800" * 40_000 + b'"}', (200, 400)),
    "model-name": (b'{"model":"' + b"l" * 250_000 + b'",' + HI + b"}", (400, 404)),
    "spaces": (START + b" " * 250_000 + b"}", (200,)),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
async def test_F46_json(opened: Any, name: str) -> None:
    """At most 256 KiB of JSON that is deep, long or many. A second of CPU would be four hundred times what it takes to
    read so much."""
    _, served, _ = opened
    body, statuses = BOMBS[name]
    spent = time.process_time()
    reply = await served.ask(post(body))
    assert time.process_time() - spent < 1.0
    assert reply.status in statuses, reply.body[:300]
    if reply.status != 200:
        assert reply.error["message"]
    assert (await served.ask(chat())).status == 200


# -- forms


@pytest.mark.parametrize(
    "flood",
    [b"X: " + b"y" * PIECE, b"y" * PIECE, b"--b\r\nA: b\r\n\r\nc\r\n" * 400],
    ids=["part-header", "part-header-name", "parts"],
)
async def test_F46_forms(bench: Bench, flood: bytes) -> None:
    """Part headers without end and parts without number, 8 MiB of it: bounded, and in CPU linear in what is read."""
    upstream = await bench.mock()
    served = await bench.gateway(upstream.url, limits={"upload_body": 8 << 20})
    head = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: g\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    client = await Conversation.open(served.port)
    client.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"--b\r\n"))
    spent = time.process_time()
    try:
        for _ in range((9 << 20) // len(flood)):
            await client.push(chunk(flood))
            if client.reader.done:
                break
        reply = await client.reply()
    finally:
        client.leave()
    assert reply.status in (400, 413)
    assert time.process_time() - spent < 4.0
    await is_well(served, upstream)
