"""F37: restarts that nobody notices. A thousand streams run while new processes take the sockets over.

Streams: one event a second each (paced, so that what is tested is the hand-over and not the machine). Beside them come
callers on connections of their own, one after the other: none may be refused, cut or left without an answer.
"""

import asyncio
import contextlib
import math
import re
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psutil
import pytest

from loadtest.rig import Conversation, assert_complete, chat
from loadtest.rig.doors import doors_of
from loadtest.rig.node import metric, over, port_of, ready, until
from loadtest.rig.visits import Visits

STREAMS = 1_000
EVENTS = 12
DRAIN = 120
SAMPLE = 100


@pytest.fixture
def node(mock_process: Any, gateway_process: Any) -> Any:
    """Two workers before a model server that says one token a second."""
    mock = mock_process("--model", "llama", "--rate", "1", "--tokens", str(EVENTS))
    endpoint = {"url": mock.url, "tier": "L1", "api_key": "${UPSTREAM_KEY}"}
    models = [{"name": "llama", "endpoints": [endpoint]}]
    return gateway_process({"models": models, "workers": 2, "listen": {"drain": DRAIN}})


@pytest.fixture
def hand_over() -> Iterator[Callable[[Any], Awaitable[psutil.Process]]]:
    """`await hand_over(node)`: tells it to, and gives its successor, which is ended with the test."""
    nodes: list[Any] = []

    async def run(node: Any) -> psutil.Process:
        nodes.append(node)
        node.process.send_signal(signal.SIGUSR2)
        line = await asyncio.to_thread(node.line, "handed over to process")
        return psutil.Process(int(re.findall(r"handed over to process (\d+)", line)[0]))

    yield run
    for pid in [pid for node in nodes for pid in successors(node)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            successor = psutil.Process(pid)
            for process in [*successor.children(), successor]:
                process.kill()


async def lasting(node: Any, count: int) -> int:
    """Events with which a stream outlives the opening of `count` and a hand-over, as fast as this machine now is."""
    began = time.monotonic()
    await finish(await open_streams(node, SAMPLE, 1), 1)
    return EVENTS + math.ceil(3 * (time.monotonic() - began) * count / SAMPLE)


async def open_streams(node: Any, count: int, events: int = EVENTS) -> list[Conversation]:
    """Streams on connections of their own, each with its first event."""
    streams = []
    for start in range(0, count, 50):
        some = [await Conversation.open(port_of(node)) for _ in range(min(50, count - start))]
        for client in some:
            client.send(chat({"tokens": events}, key=node.key, stream=True, max_tokens=events))
        for client in some:
            await client.events(1)
        streams += some
    return streams


async def finish(streams: list[Conversation], events: int = EVENTS) -> None:
    """Every stream must end whole: all of its events, [DONE], no error."""
    async with asyncio.timeout(DRAIN):
        await asyncio.gather(*(whole(client) for client in streams))
    for client in streams:
        assert_complete(client.reader.done[0], stream=True)
        assert len(client.reader.done[0].text.encode()) == events * 4
        client.leave()


async def whole(client: Conversation) -> None:
    """Returns once its reply is whole. A stream lasts longer than the patience of a single wait."""
    while not client.reader.done:
        with contextlib.suppress(TimeoutError):
            await client.until(lambda: client.reader.done)


@pytest.mark.timeout(300)
async def test_F37_an_upgrade_breaks_no_stream_and_refuses_no_connection(node: Any, hand_over: Any, door: str) -> None:
    old = psutil.Process(node.process.pid)
    before = node.children()
    events = await lasting(node, STREAMS)
    streams = await open_streams(node, STREAMS, events)
    async with Visits(port_of(node), chat({"rate": 0, "tokens": 2}, key=node.key)) as visits:
        await visits.more(20)
        successor = await hand_over(node)
        assert not over(old), "it drains"
        assert not any(client.reader.done for client in streams), "all streams are still running"
        await visits.more(100)
        after = successor.children()
        assert len(after) == 2
        assert not set(after) & set(before)
        assert doors_of(worker.pid for worker in after) == {door}
        assert await asyncio.to_thread(ready, node)
        await finish(streams, events)
        await asyncio.to_thread(until, lambda: over(old))
        await visits.more(20)
    assert {visit.status for visit in visits.all} == {200}, Counter(visit.problem for visit in visits.all)
    assert all(over(worker) for worker in before)
    node.process.wait()
    assert node.process.returncode == 0
    text = 'ai_inference_requests_total{model="llama",path="/v1/chat/completions",status="200"}'
    assert await asyncio.to_thread(metric, node, text) > 0, "the admin port is the successor's"


async def test_F37_kept_connections_are_closed_cleanly_and_answered_until_then(node: Any, hand_over: Any) -> None:
    """A caller that keeps its connection gets an answer on it or a clean close before the next request, never half."""
    request = chat({"rate": 0, "tokens": 2}, key=node.key)
    clients = [await Conversation.open(port_of(node)) for _ in range(50)]
    for client in clients:
        assert_complete(await client.ask(request), stream=False)
    await hand_over(node)
    assert Counter([await client.end() for client in clients]) == {"fin": 50}


async def test_F37_callers_that_take_their_time_are_answered(node: Any, hand_over: Any) -> None:
    """Connected before the hand-over, asked after it: a new connection must be good for one request."""
    request = chat({"rate": 0, "tokens": 2}, key=node.key)
    async with Visits(port_of(node), request, at_once=20, hesitate=0.1) as visits:
        await visits.more(40)
        await hand_over(node)
        await asyncio.to_thread(until, lambda: over(psutil.Process(node.process.pid)))
        await visits.more(40)
    assert {visit.status for visit in visits.all} == {200}, Counter(visit.problem for visit in visits.all)


async def test_F37_many_upgrades_in_a_row(node: Any, hand_over: Any) -> None:
    """Signals that come while a successor starts are one more hand-over at most, and none is lost on the way."""
    async with Visits(port_of(node), chat({"rate": 0, "tokens": 2}, key=node.key)) as visits:
        await visits.more(5)
        for _ in range(20):
            node.process.send_signal(signal.SIGUSR2)
        successor = await hand_over(node)
        await asyncio.to_thread(until, lambda: over(psutil.Process(node.process.pid)))
        successor.send_signal(signal.SIGUSR2)
        await asyncio.to_thread(until, lambda: len(successors(node)) == 2)
        await visits.more(50)
    assert {visit.status for visit in visits.all} == {200}, Counter(visit.problem for visit in visits.all)


def successors(node: Any) -> list[int]:
    """Process ids of those that took over, by what was said."""
    return [int(found) for found in re.findall(r"handed over to process (\d+)", "\n".join(node.lines))]


async def test_F37_a_stop_under_load_breaks_no_stream(node: Any) -> None:
    """SIGTERM without a successor: whoever was heard gets a whole answer, whoever comes later is refused.

    Those in the kernel's queue at that moment are reset by it; they have not been heard.
    """
    streams = await open_streams(node, 200)
    async with Visits(port_of(node), chat({"rate": 0, "tokens": 2}, key=node.key)) as visits:
        await visits.more(20)
        node.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(until, lambda: visits.all[-1].status is None)
        await visits.more(5)
        await finish(streams)
    assert await asyncio.to_thread(node.process.wait) == 0
    turned_away = Counter(visit.problem for visit in visits.all if visit.status is None)
    assert all("Refused" in problem or "status=0" in problem for problem in turned_away), turned_away
