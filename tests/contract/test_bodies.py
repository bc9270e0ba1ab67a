"""Request bodies that are too large, too slow, or never come to an end."""

import asyncio
import time
from typing import Any

from loadtest.rig import Conversation

LIMIT = 256 * 1024
SLACK = 64 * 1024
PIECE = 16 * 1024
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def answered(client: Conversation, seconds: float) -> bool:
    """Whether a reply is there within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await client.until(lambda: client.reader.done)
    except TimeoutError:
        return False
    return True


async def test_a_declared_length_over_the_limit_is_refused_before_the_body(door: Any) -> None:
    client = await door.served.open()
    reply = await client.ask(HEAD + b"content-length: 999999999\r\n\r\n")
    assert reply.status == 413
    assert reply.error["code"] == "request_too_large"
    (record,) = door.served.records.all
    assert (record.status, record.outcome) == (413, "refused")
    client.leave()


async def test_a_chunked_body_over_the_limit_is_refused_while_it_is_read(door: Any) -> None:
    """The client sends a piece at a time and looks for the answer in between, so what it sent bounds what was read.
    (Over the limit it waits until a busy machine, too, must have read what is there.)"""
    client = await door.served.open()
    client.send(CHUNKED)
    sent = 0
    while not await answered(client, 0.003 if sent <= LIMIT else 3.0):
        assert sent < 2 * LIMIT, "no answer"
        await client.push(chunk(b" " * PIECE))
        sent += PIECE
    reply = await client.reply()
    assert reply.status == 413
    assert reply.error["code"] == "request_too_large"
    assert LIMIT < sent <= LIMIT + SLACK
    client.leave()


async def pour(client: Conversation, piece: bytes, limit: int) -> int:
    """Sends pieces at full speed until the connection ends; returns how many bytes went out."""
    sent = 0
    try:
        while sent < limit:
            async with asyncio.timeout(2):
                await client.push(piece)
            sent += len(piece)
            await asyncio.sleep(0)
    except (ConnectionError, TimeoutError):
        client.leave()  # cut off, or not read any more: both end it
    return sent


async def test_a_fast_sender_is_cut_off(door: Any) -> None:
    """64 MiB at full speed: it is cut off long before the end."""
    client = await door.served.open()
    client.send(CHUNKED)
    assert await pour(client, chunk(b" " * (256 * 1024)), 64 << 20) < 16 << 20
    assert door.upstream.asked == 0


async def test_a_sender_that_goes_on_after_the_refusal_is_not_read(door: Any) -> None:
    """The limit told by Content-Length, then 64 MiB all the same."""
    client = await door.served.open()
    client.send(HEAD + b"content-length: 67108864\r\n\r\n")
    assert (await client.reply()).status == 413
    assert await pour(client, b" " * (256 * 1024), 64 << 20) < 16 << 20


async def test_a_slow_body_is_ended(open_door: Any) -> None:
    door = await open_door(timeouts={"client_body": 0.3})
    client = await door.served.open()
    started = time.monotonic()  # the loop's own time is in whole milliseconds
    reply = await client.ask(HEAD + b"content-length: 100\r\n\r\n{")
    waited = time.monotonic() - started
    assert reply.status == 408
    assert reply.error["code"] == "request_timeout"
    assert 0.3 <= waited < 1.0
    client.leave()


async def test_a_slow_but_steady_body_is_served(open_door: Any) -> None:
    """The limit is on silence, not on the whole."""
    door = await open_door(timeouts={"client_body": 0.3})
    body = b'{"model":"llama","messages":[{"role":"user","content":"hi"}]}'
    client = await door.served.open()
    client.send(HEAD + b"content-length: %d\r\n\r\n" % len(body))
    for start in range(0, len(body), 10):
        await client.push(body[start : start + 10])
        assert not await answered(client, 0.08)
        if start + 20 >= len(body):
            break
    await client.push(body[start + 10 :])
    assert (await client.reply()).status == 200
    client.leave()


async def test_a_body_that_breaks_off_is_a_departure(door: Any) -> None:
    client = await door.served.open()
    client.send(HEAD + b"content-length: 100\r\n\r\n{")
    assert not await answered(client, 0.05)
    client.leave("rst")
    (record,) = await door.served.records.wait(1)
    assert (record.status, record.outcome) == (499, "client_left")
    assert door.upstream.asked == 0
    assert (await door.served.ask(b"GET /healthz HTTP/1.1\r\nhost: g\r\n\r\n")).status == 200


async def test_memory_is_given_back_after_refusals(door: Any) -> None:
    for _ in range(20):
        client = await door.served.open()
        client.send(CHUNKED)
        await client.push(chunk(b" " * (LIMIT + 1)))
        assert (await client.reply()).status == 413
        client.leave()
    assert door.served.in_flight == []
