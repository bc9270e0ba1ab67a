"""A gateway that ends: who may have sent a request is served, who is cut leaves a record. The native door."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastpath.app import Gateway
from fastpath.settings import Endpoint, Model
from loadtest.rig import Bench, Conversation, chat
from loadtest.rig.bench import RecordList, Served, Upstream, make_settings


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench() as bench:
        yield bench


async def native(upstream: Upstream, drain: float) -> Served:
    models = [Model(name="llama", endpoints=(Endpoint(url=upstream.url),))]
    records = RecordList()
    gateway = Gateway(make_settings(models, listen={"door": "native", "drain": drain}), records)
    await gateway.__aenter__()
    return Served(gateway, records)


def ending(served: Served) -> "asyncio.Task[Any]":
    return asyncio.ensure_future(served.gateway.__aexit__(None, None, None))


async def test_a_request_that_was_on_its_way_is_served_to_its_end(bench: Bench) -> None:
    """Its connection was just in use when draining began; its answer takes longer than any patience for connections."""
    served = await native(await bench.mock(), 10.0)
    asking, silent = await Conversation.open(served.port), await Conversation.open(served.port)
    for client in (asking, silent):
        assert (await client.ask(chat())).status == 200
    closing = ending(served)
    await asyncio.sleep(0.05)
    reply = await asking.ask(chat({"ttft": 1.3}))
    assert (reply.status, reply.whole, reply.header("connection")) == (200, True, "close")
    await closing
    for client in (asking, silent):
        assert await client.end() == "fin"
        client.leave()
    assert [record.outcome for record in served.records.all] == ["complete"] * 3


async def test_who_is_cut_inside_a_body_leaves_a_record(bench: Bench) -> None:
    served = await native(await bench.mock(), 0.2)
    client = await Conversation.open(served.port)
    client.send(chat()[:-10])
    app = served.gateway.app
    assert app is not None
    async with asyncio.timeout(30):
        while not app._runtime.budget._used:
            await asyncio.sleep(0.001)
    await ending(served)
    (record,) = served.records.all
    assert (record.status, record.outcome) == (499, "client_left")
    assert app._runtime.budget._used == 0
    client.leave()
