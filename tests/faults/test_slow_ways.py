"""Slow and slicing networks on either side (rows F14 and F15 of the fault matrix)."""

import time
from typing import Any

import pytest

from backends.mock import Fault
from loadtest.faultd import Bandwidth, Latency, Slice
from loadtest.rig import Bench, Conversation, Reply, assert_complete, chat

MIB = 1 << 20


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


# -- F14 slices and latency


@both
async def test_F14_bytes_one_by_one(bench: Bench, stream: bool) -> None:
    text = "Zürich 水 🦊 naïve " * 3
    upstream = await bench.mock(tokens=12)
    proxy, port = await bench.proxy(upstream.port)
    direct = await Conversation.open(upstream.port)
    more = {"stream_options": {"include_usage": True}} if stream else {}
    sound = await direct.ask(chat(stream=stream, text=text, **more))
    direct.leave()
    proxy.set_rules([Slice(size=1), Latency(mean_ms=20, jitter_ms=10)])
    served = await bench.gateway(f"http://127.0.0.1:{port}/v1")
    reply = await served.ask(chat(stream=stream, text=text, **more))
    assert masked(reply) == masked(sound)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11])
async def test_F14_utf8_cut_anywhere(bench: Bench, size: int) -> None:
    """The model server's bytes in segments of so many bytes, with text of two, three and four byte characters."""
    words = ["é", "水", "🦊", "ü水🦊"]
    events = [b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % word.encode() for word in words]
    events.append(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
    body = b"".join(events) + b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body)
    served, _ = await bench.single(Fault(raw=head + body, split=size))
    reply = await served.ask(chat(stream=True))
    assert reply.body == body
    assert reply.text == "".join(words)


def masked(reply: Reply) -> Any:
    """The answer without what differs from run to run."""
    whole = reply.frames if reply.status == 200 and reply.events else [reply.json]
    return [{name: value for name, value in frame.items() if name not in ("id", "created")} for frame in whole]


# -- F15 a slow caller


async def test_F15_a_slow_caller_gets_everything(bench: Bench) -> None:
    """8 kB/s to one caller: about 20 kB arrive in about 2.5 s, byte for byte."""
    served, first = await bench.single(Fault(tokens=90))
    proxy, port = await bench.proxy(served.port)
    proxy.set_rules([Bandwidth(bytes_per_s=8192)])
    client = await Conversation.open(port)
    started = time.monotonic()
    client.send(chat(stream=True))
    reply = await client.reply()
    assert_complete(reply, stream=True)
    assert time.monotonic() - started > 1.5
    (seen,) = await first.server.wait_records(1)
    assert reply.text == seen.content[0]
    client.leave()


async def test_F15_a_slow_caller_holds_back_the_model_server(bench: Bench) -> None:
    """8 kB/s and a firehose: the gateway holds at most 1 MiB, others are served, and the rest is not even sent."""
    served, first = await bench.single(Fault(firehose=1_000_000), Fault())
    proxy, port = await bench.proxy(served.port)
    proxy.set_rules([Bandwidth(bytes_per_s=8192)])
    client = await Conversation.open(port)
    client.send(chat(stream=True, max_tokens=1_000_000))
    await client.events(20)
    assert_complete(await served.ask(chat(stream=True)), stream=True)
    (request,) = served.in_flight
    assert request["buffered"] <= MIB
    (running,) = first.server.live
    assert running.events_sent < 100_000
    client.leave()
    await served.records.wait(2)


async def test_F15_without_progress_the_caller_is_closed(bench: Bench) -> None:
    served, first = await bench.single(Fault(firehose=1_000_000), timeouts={"client_stall": 0.5})
    client = await served.open(receive_buffer=8192)
    client.stall()
    client.send(chat(stream=True, max_tokens=1_000_000))
    (record,) = await served.records.wait(1)
    assert (record.status, record.outcome) == (499, "client_left")
    (seen,) = await first.server.wait_records(1)
    assert seen.closed_by == "client"
    client.wake()
    await client.end()
