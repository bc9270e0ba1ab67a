"""Callers that read slowly, read nothing, or leave."""

import asyncio
import fcntl
import json
import socket
import struct
import termios
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from loadtest.rig import Conversation, chat

MIB = 1 << 20
FIREHOSE = {"firehose": 10_000_000}


def queued(sock: socket.socket) -> int:
    """Bytes in a socket's receive queue: taken by the kernel, not read by the program."""
    found: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0" * 4))[0]
    return found


async def stopped(door: Any) -> None:
    """Returns once the model server has sent events and could send no more for 300 ms."""
    last, since = 0, time.monotonic()
    async with asyncio.timeout(30):
        while not last or time.monotonic() - since < 0.3:
            live = door.upstream.server.live
            sent = live[0].events_sent if live else 0
            if sent != last:
                last, since = sent, time.monotonic()
            await asyncio.sleep(0.02)


async def test_the_caller_leaves_and_the_model_server_is_told(door: Any) -> None:
    for how in ("fin", "rst"):
        client = await door.served.open()
        client.send(chat({"rate": 20.0, "tokens": 1000}, stream=True))
        await client.events(3)
        client.leave(how)
    for record in await door.upstream.server.wait_records(2):
        assert record.closed_by == "client"
    for record in await door.served.records.wait(2):
        assert (record.status, record.outcome) == (499, "client_left")
    assert door.served.in_flight == []


async def test_a_caller_that_stalls_and_comes_back_loses_nothing(door: Any) -> None:
    direct = await Conversation.open(door.upstream.port)
    whole = await direct.ask(chat({"firehose": 3000}, stream=True))
    direct.leave()
    client = await door.served.open(receive_buffer=16 * 1024)
    client.send(chat({"firehose": 3000}, stream=True))
    await client.events(1)
    client.stall()
    await asyncio.sleep(0.2)
    client.wake()
    reply = await client.reply()
    assert reply.text == whole.text
    assert reply.done == 1
    client.leave()


async def test_a_caller_that_never_reads_is_closed_after_client_stall(open_door: Any) -> None:
    door = await open_door(timeouts={"client_stall": 0.6})
    client = await door.served.open(receive_buffer=16 * 1024)
    client.stall()
    started = time.monotonic()
    client.send(chat(FIREHOSE, stream=True, max_tokens=10_000_000))
    (record,) = await door.served.records.wait(1)
    assert record.outcome == "client_left"
    assert record.status == 499
    assert 0.6 <= time.monotonic() - started < 5
    (seen,) = await door.upstream.server.wait_records(1)
    assert seen.closed_by == "client"
    client.wake()
    assert await client.end() in ("fin", "rst")
    assert not client.reader.done, "a cut answer must not look whole"


async def test_other_callers_are_served_while_one_stalls(door: Any) -> None:
    client = await door.served.open(receive_buffer=16 * 1024)
    client.stall()
    client.send(chat(FIREHOSE, stream=True, max_tokens=10_000_000))
    await stopped(door)
    for _ in range(5):
        assert (await door.served.ask(chat(stream=True))).done == 1
    assert len(door.served.in_flight) == 1
    client.leave("rst")
    await door.served.records.wait(6)


async def test_backpressure_reaches_the_model_server(door: Any) -> None:
    """A stalled caller: of what the model server could send, the gateway and its kernel buffers hold at most 1 MiB."""
    client = await door.served.open(receive_buffer=16 * 1024)
    client.stall()
    client.send(chat(FIREHOSE, stream=True, max_tokens=10_000_000))
    await stopped(door)
    (request,) = door.served.in_flight
    # In one moment: once the caller has left, what was stuck moves again and counts as sent.
    sent = door.upstream.server.live[0].bytes_sent
    elsewhere = queued(client.transport.get_extra_info("socket")) + unsent_by(door.upstream.port)
    client.leave("rst")
    await door.upstream.server.wait_records(1)
    assert request["buffered"] <= MIB
    assert 0 < sent - elsewhere <= MIB, (sent, elsewhere)


def unsent_by(port: int) -> int:
    """Bytes in the send queues of connections accepted at `port`."""
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    open_at_port = [row for row in rows if row[3] == "01" and int(row[1].rpartition(":")[2], 16) == port]
    return sum(int(row[4].partition(":")[0], 16) for row in open_at_port)


def test_stalled_readers_cost_the_worker_at_most_a_mebibyte_each(mock_process: Any, gateway_process: Any) -> None:
    """Guards upgrades of the door: an interface without backpressure would buffer the whole firehose."""
    mock = mock_process("--model", "llama")
    endpoint = {"url": mock.url, "tier": "L1", "api_key": "${UPSTREAM_KEY}"}
    node = gateway_process({"models": [{"name": "llama", "endpoints": [endpoint]}]})
    (worker,) = node.children()
    warm = [stalled_reader(node) for _ in range(2)]
    stand_still(worker)
    before = worker.memory_info().rss
    readers = [stalled_reader(node) for _ in range(8)]
    after = stand_still(worker)
    buffered = [request["buffered"] for request in json.loads(node.admin("/debug/requests"))]
    for sock in readers + warm:
        sock.close()
    assert len(buffered) == 10
    assert max(buffered) <= MIB
    assert after - before <= 8 * MIB, f"{(after - before) / 8 / MIB:.2f} MiB each"
    assert len(node.access_lines(10)) == 10


def stalled_reader(node: Any) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    sock.connect(("127.0.0.1", urlsplit(node.url).port))
    sock.sendall(chat(FIREHOSE, key=node.key, stream=True, max_tokens=10_000_000))
    return sock


def stand_still(worker: psutil.Process) -> int:
    """The worker's RSS once it used no CPU for 300 ms (its tick apart)."""
    while True:
        before = sum(worker.cpu_times()[:2])
        time.sleep(0.3)
        if sum(worker.cpu_times()[:2]) - before <= 0.02:
            return worker.memory_info().rss
