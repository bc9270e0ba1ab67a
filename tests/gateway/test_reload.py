"""Reload: a running request keeps what it was admitted under, unchanged endpoints keep their pool, nothing is lost."""

import asyncio
from typing import Any

import msgspec

from backends.mock import Fault
from fastpath.settings import Endpoint, Model, Retries, Settings, Timeouts
from loadtest.rig import Bench, chat
from loadtest.rig.bench import Served, Upstream, make_settings


def settings_of(*upstreams: Upstream, model: str = "llama", **more: Any) -> Settings:
    endpoints = tuple(
        # The first one is asked first.
        Endpoint(url=upstream.url, name=f"e{upstream.port}", tier="L1", weight=1000 if i == 0 else 1)
        for i, upstream in enumerate(upstreams)
    )
    return make_settings([Model(name=model, endpoints=endpoints)], **more)


def app(served: Served) -> Any:
    assert served.gateway.app is not None
    return served.gateway.app


async def test_an_unchanged_endpoint_keeps_its_pool(bench: Bench) -> None:
    first, second = await bench.mock(), await bench.mock()
    served = await bench.serve(settings_of(first))
    await served.ask(chat())
    (before,) = app(served)._backends.values()
    app(served).reload(settings_of(first, second, limits={"frame": 2048}))
    app(served).reload(settings_of(first))
    assert list(app(served)._backends.values()) == [before]
    assert before.pool.open == 1
    await served.ask(chat())
    assert before.pool.open == 1


async def test_F38_a_running_stream_keeps_its_snapshot(bench: Bench, quiet: Any) -> None:
    first, second = await bench.mock(tokens=20, rate=100.0), await bench.mock()
    served = await bench.serve(settings_of(first))
    client = await served.open()
    client.send(chat(stream=True))
    await client.events(2)
    app(served).reload(settings_of(second, model="other"))
    assert (await served.ask(chat(model="llama"))).status == 404
    reply = await client.reply()
    assert reply.done == 1
    await quiet(served).wait()
    client.leave()


async def test_F38_a_removed_endpoint_finishes_and_closes(bench: Bench, quiet: Any) -> None:
    first, second = await bench.mock(tokens=10, rate=100.0), await bench.mock()
    served = await bench.serve(settings_of(first, timeouts={"pool_idle": 0.1}))
    client = await served.open()
    client.send(chat(stream=True))
    await client.events(1)
    app(served).reload(settings_of(second, timeouts={"pool_idle": 0.1}))
    pool = next(iter(app(served)._retired)).pool
    assert pool.open == 1
    assert (await client.reply()).done == 1
    async with asyncio.timeout(30):
        while app(served)._retired:
            await asyncio.sleep(0.01)
    assert pool.open == 0
    await quiet(served).wait()
    client.leave()


async def test_a_retry_under_an_old_snapshot_still_has_deadlines(bench: Bench, quiet: Any) -> None:
    """The retry goes to an endpoint that was removed meanwhile and had nothing to do."""
    first, second, third = await bench.mock(), await bench.mock(), await bench.mock()
    first.script(Fault(status=500))
    second.script(Fault(stall_after="head"))
    retries = Retries(backoff=0.6, backoff_max=0.6, budget_min=10)
    served = await bench.serve(settings_of(first, second, retries=retries, timeouts={"first_byte": 0.3, "total": 60.0}))
    app(served)._runtime.random = lambda: 1.0
    client = await served.open()
    client.send(chat())
    await first.server.wait_records(1)
    app(served).reload(settings_of(third))
    reply = await client.reply()
    assert reply.status == 504
    await quiet(served).wait()
    client.leave()


async def test_F38_reloads_under_load_lose_nothing(bench: Bench, quiet: Any) -> None:
    mocks = [await bench.mock(tokens=5) for _ in range(3)]
    served = await bench.serve(settings_of(*mocks[:2]))
    stop = asyncio.Event()
    replies: list[tuple[int, int]] = []

    async def ask_on(stream: bool) -> None:
        client = await served.open()
        while not stop.is_set():
            reply = await client.ask(chat(stream=stream))
            replies.append((reply.status, reply.done if stream else 1))
        client.leave()

    callers = [asyncio.create_task(ask_on(bool(number % 2))) for number in range(8)]
    for number in range(60):
        chosen = [mocks[number % 3], mocks[(number + 1) % 3]]
        app(served).reload(settings_of(*chosen, limits={"frame": 1 << 16, "memory": (1 << 28) + number}))
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*callers)
    assert len(replies) > 100
    assert set(replies) == {(200, 1)}
    records = await served.records.wait(len(replies))
    assert len(records) == len(replies)
    await quiet(served).wait()
    assert sum(mock.asked for mock in mocks) == len(replies)


async def test_timeouts_of_a_model_reach_its_endpoints(bench: Bench) -> None:
    upstream = await bench.mock()
    upstream.script(Fault(stall_after="head"))
    served = await bench.serve(settings_of(upstream))
    slow = settings_of(upstream)
    short = msgspec.structs.replace(slow.models[0], timeouts=Timeouts(first_byte=0.2))
    app(served).reload(msgspec.structs.replace(slow, models=(short,)))
    assert (await served.ask(chat())).status == 504
