"""F36, the part of the operating system: one of two workers is stopped by SIGSTOP for two seconds under load.

It counts as not ready, the other serves whoever comes, and after SIGCONT it goes on where it was: with its streams
whole, and not restarted.
"""

import asyncio
import json
import time
from collections import Counter
from typing import Any

import psutil
import pytest

from loadtest.rig import Conversation, assert_complete, chat
from loadtest.rig.node import metric, port_of, ready, until
from loadtest.rig.visits import Visits

STREAMS = 40
STOPPED = 2.0
#: Some are with the worker when it is stopped, and wait; the others go on.
VISITORS = 8
#: What a caller may wait while a worker is stopped. One that the stopped worker held would wait for all of STOPPED.
AT_MOST = 1.5


@pytest.mark.alone
async def test_F36_a_stopped_worker_is_not_ready_and_the_others_serve(mock_process: Any, gateway_process: Any) -> None:
    mock = mock_process("--model", "llama", "--rate", "10", "--tokens", "60")
    endpoint = {"url": mock.url, "tier": "L1", "api_key": "${UPSTREAM_KEY}"}
    node = gateway_process({"models": [{"name": "llama", "endpoints": [endpoint]}], "workers": 2})
    port = port_of(node)
    workers = node.children()
    streams = await open_streams(port, node.key)
    running = Counter(request["worker"] for request in json.loads(node.admin("/debug/requests")))
    assert sum(running.values()) == STREAMS
    stopped = psutil.Process(max(running, key=lambda pid: running[pid]))
    async with Visits(port, chat({"rate": 0, "tokens": 2}, key=node.key), at_once=VISITORS) as visits:
        await visits.more(5)
        await asyncio.to_thread(stop_for_a_while, node, stopped, visits)
    assert {visit.status for visit in visits.all} == {200}, Counter(visit.problem for visit in visits.all)
    for client in streams:
        reply = await client.reply()
        assert_complete(reply, stream=True)
        assert len(reply.text.encode()) == 60 * 4
        client.leave()
    assert node.children() == workers
    assert metric(node, "fastpath_worker_restarts_total") == 0


async def open_streams(port: int, key: str) -> list[Conversation]:
    """Streams on connections of their own, each with its first event."""
    streams = [await Conversation.open(port) for _ in range(STREAMS)]
    for client in streams:
        client.send(chat(key=key, stream=True, max_tokens=60))
    for client in streams:
        await client.events(1)
    return streams


def stop_for_a_while(node: Any, worker: psutil.Process, visits: Visits) -> None:
    """SIGSTOP, what must hold meanwhile, SIGCONT, and what must hold then."""
    assert ready(node)
    worker.suspend()
    try:
        began = time.monotonic()
        until(lambda: worker.status() == psutil.STATUS_STOPPED)
        stopped = time.monotonic()
        until(lambda: not ready(node))
        assert time.monotonic() - began < STOPPED
        node.line(f"worker {worker.pid} has not answered")
        until(lambda: time.monotonic() - began >= STOPPED)
        served = [visit for visit in visits.all if visit.began > stopped]
        assert len(served) > 20
        assert max(visit.ended - visit.began for visit in served) < AT_MOST
    finally:
        worker.resume()
    until(lambda: ready(node))
    node.line(f"worker {worker.pid} answers again")
