"""A gateway in a program that watches on its own loop, and the facts of its endpoints in its table."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import msgspec
import pytest

from backends.watch.plan import fact_id
from backends.watch.report import State
from fastpath import Gateway, Settings
from fastpath.settings import Endpoint, Listen, Load, Model, Probe, Watch
from tests.watch.conftest import Server, http
from tests.watch.pages import VLLM

Serve = Callable[[bytes], Awaitable[Server]]
MODELS = http(b'{"data": []}')


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.02)


def settings(*endpoints: Endpoint) -> Settings:
    return Settings(
        models=(Model(name="llama", endpoints=endpoints),),
        listen=Listen(port=0, drain=0.1),
        watch=Watch(probe=Probe(interval=0.3, timeout=0.5)),
    )


async def test_it_watches_when_it_is_told_to(serve: Serve) -> None:
    good, bad = await serve(MODELS), await serve(b"what?\r\n\r\n")
    one = Endpoint(url=good.url, name="good", tier="L1", load=Load(engine="vllm", interval=0.2))
    two = Endpoint(url=bad.url, name="bad", tier="L1")
    async with Gateway(settings(one, two), watch=True) as gateway:
        assert gateway.app is not None
        table = gateway.app._runtime.table
        await until(lambda: {each.endpoint: each.state for each in gateway.endpoints()}["bad"] is State.FAILED)
        await until(lambda: table.out_until[1] > 0)
        assert table.out_until[0] == 0
        good.answer = http(VLLM)  # to every question
        await until(lambda: table.queued[0] == 3000)
        assert table.kv_usage[0] == 0.5
        bad.answer = MODELS
        await until(lambda: table.out_until[1] == 0)
        assert table.ramp_from[1] > 0
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{gateway.url}/models")).status_code == 200


async def test_it_asks_nobody_otherwise(serve: Serve) -> None:
    server = await serve(MODELS)
    async with Gateway(settings(Endpoint(url=server.url, tier="L1"))) as gateway:
        await asyncio.sleep(0.3)
        assert gateway.endpoints() == []
    assert server.asked == []


async def test_facts_follow_a_reload(serve: Serve) -> None:
    """The endpoint of another order has another place in the settings, and the same slot."""
    server = await serve(MODELS)
    speeds = {"a": 5, "b": 7}
    one, two = (Endpoint(url=server.url, name=name, tier="L1", throughput=speeds[name]) for name in speeds)
    async with Gateway(settings(one, two)) as gateway:
        assert gateway.app is not None
        table = gateway.app._runtime.table
        await until(lambda: list(table.throughput) == [5, 7])
        gateway.app.reload(settings(msgspec.structs.replace(two, throughput=9.0)))
        now = asyncio.get_running_loop().time()
        gateway.metrics.arena.sample(fact_id("llama", "b")).write(int(now * 1e9), (640.0,))
        await until(lambda: table.queued[1] == 640)
        assert table.throughput[1] == pytest.approx(9)


async def test_two_models_that_share_an_endpoint_share_its_facts(serve: Serve) -> None:
    server = await serve(http(VLLM))
    plain = Endpoint(url=server.url, name="a", tier="L1")
    told = msgspec.structs.replace(plain, load=Load(engine="vllm", interval=0.2))
    both = Settings(
        models=(Model(name="first", endpoints=(plain,)), Model(name="second", endpoints=(told,))),
        listen=Listen(port=0, drain=0.1),
    )
    async with Gateway(both, watch=True) as gateway:
        assert gateway.app is not None
        table = gateway.app._runtime.table
        assert len(table.weight) == 1
        await until(lambda: table.queued[0] == 3000)
