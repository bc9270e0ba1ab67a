"""F35: memory runs short. Big bodies are refused at 80 % of `limits.memory`, all others at 90 %, and what runs goes on.

The budget is counted, so the marks are tried exactly in this process; that counting is enough is tried on workers whose
memory the kernel limits (RLIMIT_DATA: a machine that would kill them for memory needs a group that tests may not make).
"""

import asyncio
import resource
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadtest.rig import Bench, Conversation, Reply, Upstream, assert_complete, assert_refused, chat
from loadtest.rig.bench import Served
from loadtest.rig.node import metric, port_of, until
from loadtest.rig.visits import Visits

MIB = 1 << 20
BUDGET = 8 * MIB
BIG = MIB
SMALL = 60 * 1024


def sized(size: int, **more: Any) -> bytes:
    """A request whose body has so many bytes."""
    fault = more.pop("fault", {"ttft": 60.0})
    empty = chat(fault, text="", **more)
    body = len(empty.partition(b"\r\n\r\n")[2])
    return chat(fault, text="x" * (size - body), **more)


def head_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


class Crowd:
    """Callers whose requests are held by a model server that does not answer yet."""

    def __init__(self, served: Served, upstream: Upstream) -> None:
        self.served = served
        self.upstream = upstream
        self.inside: list[Conversation] = []

    async def enter(self, size: int) -> Reply | None:
        """One more request; its refusal, None when it is let in."""
        client = await self.served.open()
        held = self.upstream.asked
        client.send(sized(size))
        await until_either(lambda: client.reader.done, lambda: self.upstream.asked > held)
        if client.reader.done:
            client.leave()
            return client.reader.done[0]
        self.inside.append(client)
        return None

    async def fill(self, size: int) -> tuple[int, Reply]:
        """How many such requests are let in, and the refusal of the next one."""
        for count in range(1000):
            refusal = await self.enter(size)
            if refusal is not None:
                return count, refusal
        raise AssertionError("nothing was ever refused")

    async def probe(self, size: int) -> Reply:
        """The answer to a head that announces so many bytes, of which none is sent."""
        client = await self.served.open()
        client.send(head_of(sized(size)))
        reply = await client.reply()
        client.leave()
        return reply

    @property
    def used(self) -> int:
        assert self.served.gateway.app is not None
        return self.served.gateway.app._runtime.budget.used


async def until_either(*true: Any) -> None:
    async with asyncio.timeout(30):
        while not any(condition() for condition in true):
            await asyncio.sleep(0.002)


@pytest.fixture
async def crowd(bench: Bench) -> AsyncIterator[Crowd]:
    upstream = await bench.mock()
    served = await bench.gateway(upstream.url, limits={"memory": BUDGET, "json_body": 4 * MIB})
    crowd = Crowd(served, upstream)
    yield crowd
    for client in crowd.inside:
        client.leave()


async def test_F35_big_bodies_are_refused_at_80_percent_and_all_at_90(crowd: Crowd) -> None:
    big, refusal = await crowd.fill(BIG)
    assert_refused(refusal, 503, "overloaded")
    assert big == int(BUDGET * 0.8) // BIG
    small, refusal = await crowd.fill(SMALL)
    assert_refused(refusal, 503, "overloaded")
    assert BUDGET * 0.9 - SMALL < crowd.used <= BUDGET * 0.9
    assert small == (int(BUDGET * 0.9) - big * BIG) // SMALL
    assert crowd.upstream.asked == big + small, "what was refused never reached the model server"


async def test_F35_a_refusal_does_not_wait_for_the_body(crowd: Crowd) -> None:
    await crowd.fill(BIG)
    assert_refused(await crowd.probe(BIG), 503, "overloaded")
    assert crowd.used <= BUDGET * 0.8


async def test_F35_a_body_that_nobody_announced_is_counted_too(crowd: Crowd) -> None:
    await crowd.fill(BIG)
    held = crowd.upstream.asked
    client = await crowd.served.open()
    body = sized(BIG).partition(b"\r\n\r\n")[2]
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n"
    client.send(head + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
    assert_refused(await client.reply(), 503, "overloaded")
    assert crowd.upstream.asked == held
    client.leave()


async def test_F35_whoever_is_inside_gets_an_answer_and_room_comes_back(crowd: Crowd) -> None:
    await crowd.fill(BIG)
    last = crowd.inside.pop()
    last.leave()
    await crowd.served.records.wait(2)  # the refused one, and the one that left
    assert_complete(await crowd.served.ask(sized(BIG, fault={})), stream=False)
    assert_complete(await crowd.served.ask(sized(SMALL, fault={}, stream=True)), stream=True)
    for client in crowd.inside:
        client.leave()
    await crowd.served.records.wait(4 + len(crowd.inside))
    assert crowd.used == 0
    assert await crowd.enter(BIG) is None


# -- in processes whose memory is limited

WORKERS = 2
PER_WORKER = 48 * MIB
#: Beyond what a worker holds at rest. A body lies there once for the caller, once patched, and once on its way.
ROOM = 4 * PER_WORKER
BODY = 4 * MIB
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: g\r\n\r\n"


@asynccontextmanager
async def pressed(mock_process: Any, gateway_process: Any, more: int) -> AsyncIterator[tuple[Any, list[Any]]]:
    """A node with little memory, and `more` times as many big requests at once as fit into its budgets."""
    mock = mock_process("--model", "llama", "--tokens", "4")
    endpoint = {"url": mock.url, "tier": "L1", "api_key": "${UPSTREAM_KEY}"}
    node = gateway_process(
        {
            "models": [{"name": "llama", "endpoints": [endpoint]}],
            "limits": {"memory": PER_WORKER, "json_body": 2 * BODY, "response_body": 2 * BODY},
            "workers": WORKERS,
        }
    )
    for worker in node.children():
        limit_memory(worker, ROOM)
    request = sized(BODY, fault={"ttft": 1.0}, key=node.key)
    count = more * WORKERS * PER_WORKER // BODY
    clients = [await Conversation.open(port_of(node)) for _ in range(count)]
    for client in clients:
        client.send(request)
    yield node, clients
    for client in clients:
        client.leave()


def limit_memory(worker: psutil.Process, room: int) -> None:
    """What it holds now and `room` bytes more."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    held = int(status.partition("VmData:")[2].split()[0]) << 10
    resource.prlimit(worker.pid, resource.RLIMIT_DATA, (held + room, held + room))


async def test_F35_workers_under_a_memory_limit_shed_and_live(mock_process: Any, gateway_process: Any) -> None:
    async with pressed(mock_process, gateway_process, more=3) as (node, clients):
        workers = node.children()
        asked = asyncio.gather(*(client.reply() for client in clients))
        async with Visits(port_of(node), HEALTH) as visits:
            replies = await asked
            await visits.more(5)
        for reply in replies:
            if reply.status == 200:
                assert_complete(reply, stream=False)
            else:
                assert_refused(reply, 503, "overloaded")
        statuses = Counter(reply.status for reply in replies)
        assert statuses[200] >= 5, statuses
        assert statuses[503] >= len(clients) // 3, statuses
        assert {visit.status for visit in visits.all} == {200}
        assert node.children() == workers, "none ran out of memory"
        client = await Conversation.open(port_of(node))
        assert_complete(await client.ask(sized(BODY, fault={}, key=node.key)), stream=False)
        client.leave()


async def test_F35_a_worker_killed_for_memory_is_replaced_and_the_others_serve(
    mock_process: Any, gateway_process: Any
) -> None:
    """What the kernel does in the end. Its callers see a cut, never a whole answer that is none."""
    async with pressed(mock_process, gateway_process, more=1) as (node, clients):
        victim, survivor = node.children()
        await asyncio.sleep(0.2)
        victim.kill()
        outcomes = await asyncio.gather(*(client.reply() for client in clients), return_exceptions=True)
        replies = [outcome for outcome in outcomes if isinstance(outcome, Reply)]
        assert all(isinstance(outcome, Reply | ConnectionError) for outcome in outcomes), outcomes
        assert {reply.status for reply in replies} <= {200, 503}
        for reply in replies:
            assert reply.whole
        await asyncio.to_thread(until, lambda: metric(node, "fastpath_workers") == WORKERS)
        assert metric(node, "fastpath_worker_restarts_total") == 1
        assert survivor in node.children()
        request = sized(BODY, fault={}, key=node.key)
        async with Visits(port_of(node), request) as visits:
            await visits.more(10)
        assert {visit.status for visit in visits.all} == {200}
