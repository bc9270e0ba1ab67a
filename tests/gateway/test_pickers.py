"""Pickers in a running gateway before real mocks: who gets what, what is charged, what answers teach."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from _native.arena import digest
from backends.mock import Fault
from fastpath.settings import Endpoint, Model, ModelPrice
from loadtest.rig import Bench, chat
from loadtest.rig.bench import Served, Upstream, make_settings
from scheduler.endpoint import EndpointTable


async def serve(bench: Bench, upstreams: list[Upstream], picker: Any = "least_cost", **more: Any) -> Served:
    endpoints = tuple(Endpoint(url=each.url, name=f"e{n}", tier="L1") for n, each in enumerate(upstreams))
    return await bench.serve(make_settings([Model(name="llama", endpoints=endpoints, picker=picker)], **more))


def table_of(served: Served) -> EndpointTable:
    assert served.gateway.app is not None
    return served.gateway.app._runtime.table


async def keep_asking(served: Served, callers: int, requests: int, **more: Any) -> Counter[str]:
    """So many callers ask one request after the other; who answered them."""
    left = iter(range(requests))

    async def one() -> None:
        client = await served.open()
        for _ in left:
            client, reply = await served.ask_on(client, chat(stream=True, **more))
            assert reply.status == 200
        client.leave()

    begun = len(served.records.all)
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(one())
    records = await served.records.wait(begun + requests)
    return Counter(record.endpoint or "" for record in records[begun:])


@pytest.mark.parametrize("picker", ["least_cost", "least_in_flight", "round_robin", "peak_ewma"])
async def test_one_after_the_other_goes_round(bench: Bench, picker: str) -> None:
    """At low load it is never always the first."""
    served = await serve(bench, [await bench.mock() for _ in range(3)], picker)
    found = await keep_asking(served, 1, 60)
    assert set(found) == {"e0", "e1", "e2"}
    assert picker == "peak_ewma" or set(found.values()) == {20}


async def test_a_long_prompt_keeps_others_away_until_its_first_token(bench: Bench) -> None:
    first, second = await bench.mock(), await bench.mock()
    for upstream in (first, second):
        upstream.script(Fault(stall_after="head"), times=1)
    served = await serve(bench, [first, second])
    client = await served.open()
    client.send(chat(stream=True, messages=[{"role": "user", "content": "long " * 20_000}]))
    async with asyncio.timeout(30):
        while not served.in_flight:
            await asyncio.sleep(0)
    busy = served.in_flight[0]["endpoint"]
    table = table_of(served)
    assert max(table.tokens) >= 20_000
    spare = second if busy == "e0" else first
    spare.script()
    found = await keep_asking(served, 4, 40)
    assert busy not in found
    client.leave()
    async with asyncio.timeout(30):
        while any(table.tokens):
            await asyncio.sleep(0.001)
    assert busy in await keep_asking(served, 1, 10)


async def test_the_same_caller_meets_the_same_endpoint(bench: Bench) -> None:
    served = await serve(bench, [await bench.mock() for _ in range(3)], "consistent_hash")
    homes = {}
    for user in range(30):
        found = await keep_asking(served, 1, 3, user=f"u{user}")
        assert len(found) == 1
        homes[user] = next(iter(found))
    assert set(homes.values()) == {"e0", "e1", "e2"}


async def test_without_a_name_the_beginning_of_the_prompt_decides(bench: Bench) -> None:
    served = await serve(bench, [await bench.mock() for _ in range(3)], "consistent_hash")
    opening = [{"role": "system", "content": "You are a pirate. " * 80}]
    found = Counter[str]()
    for turn in range(6):
        found += await keep_asking(served, 1, 1, messages=[*opening, {"role": "user", "content": f"turn {turn}"}])
    assert len(found) == 1


@pytest.mark.alone
async def test_shares_follow_the_speeds(bench: Bench) -> None:
    """Three kinds of chip under one name, told of none: callers keep all busy, each takes what it can."""
    speeds = {"e0": 4, "e1": 2, "e2": 1}
    upstreams = [await bench.mock(ttft=0.2 / speed, slots=1, tokens=1) for speed in speeds.values()]
    served = await serve(bench, upstreams)
    found = await keep_asking(served, 16, 200)
    for name, speed in speeds.items():
        assert found[name] / found.total() == pytest.approx(speed / 7, abs=0.1 * speed / 7 + 0.02)


async def test_everything_charged_is_given_back(bench: Bench, quiet: Any) -> None:
    """10,000 requests over both doors that end in every way, a third by callers that leave at any moment."""
    random = Random(6)
    upstreams = [await bench.mock(ttft=0.002, tokens=3) for _ in range(3)]
    faults = [
        Fault(),
        Fault(),
        Fault(status=503),
        Fault(status=422),
        Fault(die="pre"),
        Fault(cut_after=1),
        Fault(gzip=True),
    ]
    for upstream in upstreams:
        upstream.script(*random.choices(faults, k=500))
    served = await serve(bench, upstreams)
    left = iter(range(5_000))

    async def one() -> None:
        client = await served.open()
        for _ in left:
            words = "word " * random.randint(1, 500)
            request = chat(stream=random.random() < 0.7, messages=[{"role": "user", "content": words}])
            if random.random() < 0.33:
                client.send(request)
                await asyncio.sleep(random.uniform(0, 0.008))
                client.leave()
                client = await served.open()
            else:
                client, _ = await served.ask_on(client, request)
        client.leave()

    async with asyncio.TaskGroup() as group:
        for _ in range(32):
            group.create_task(one())
    await quiet(served).wait()
    table = table_of(served)
    assert list(table.tokens) == [0.0] * 3
    assert list(table.since) == [0.0] * 3
    assert list(table.in_flight) == [0] * 3
    outcomes = Counter(record.outcome for record in served.records.all)
    assert min(outcomes["complete"], outcomes["client_left"], outcomes["error"] + outcomes["broken"]) > 100


async def test_first_tokens_are_measured(bench: Bench) -> None:
    upstream = await bench.mock(ttft=0.05)
    served = await serve(bench, [upstream])
    await keep_asking(served, 1, 3)
    table = table_of(served)
    assert 0.05 <= table.ttft[0] < 1.0
    before = table.ttft_at[0]
    await served.ask(chat())
    assert table.ttft[0] >= 0.05
    assert table.ttft_at[0] >= before


async def test_a_server_of_ones_own_says_how_busy_it_is(bench: Bench) -> None:
    """In a header, asked for by one: read, shared with the other workers, and kept from the caller."""
    upstream = await bench.mock(slots=1, ttft=0.1)
    served = await serve(bench, [upstream])
    replies = await asyncio.gather(*(served.ask(chat(stream=True)) for _ in range(4)))
    assert all(reply.header("endpoint-load-metrics") is None for reply in replies)
    table = table_of(served)
    assert table.sampled_at[0] > 0
    assert upstream.server.records[0].headers.count(("endpoint-load-metrics-format", "TEXT")) == 1
    assert served.gateway.app is not None
    shared = served.gateway.app._runtime.metrics.arena.sample(digest("endpoint", "llama", "e0")).read()
    assert shared is not None
    assert shared[1][:2] == (table.queued[0], table.kv_usage[0])
    assert shared[0] / 1e9 == pytest.approx(table.sampled_at[0])


async def test_a_provider_is_not_asked_how_busy_it_is(bench: Bench) -> None:
    upstream = await bench.mock()
    endpoints = (Endpoint(url=upstream.url, tier="L2"),)
    served = await bench.serve(make_settings([Model(name="llama", endpoints=endpoints)]))
    await served.ask(chat())
    assert "endpoint-load-metrics-format" not in dict(upstream.server.records[0].headers)


@pytest.mark.parametrize(
    "value", ["TEXT num_requests_waiting=-1", "JSON {", "x" * 3000, "TEXT num_requests_waiting=nan"]
)
async def test_a_report_that_cannot_be_is_ignored(bench: Bench, value: str) -> None:
    upstream = await bench.mock()
    upstream.script(Fault(headers={"endpoint-load-metrics": value}))
    endpoints = (Endpoint(url=upstream.url, tier="L2"),)
    served = await bench.serve(make_settings([Model(name="llama", endpoints=endpoints)]))
    assert (await served.ask(chat())).status == 200
    assert table_of(served).sampled_at[0] == 0.0


@pytest.mark.alone
async def test_the_cheapest_healthy_local_first_and_the_others_above_its_limit(bench: Bench) -> None:
    """One name, two local and two remote: overflow begins when the local ones are full, and ends with the burst."""
    local = [await bench.mock(slots=2, ttft=0.05, tokens=2) for _ in range(2)]
    remote = [await bench.mock(ttft=0.05, tokens=2) for _ in range(2)]
    prices = {"L1-0": 1.0, "L1-1": 2.0, "L2-0": 4.0, "L2-1": 3.0}
    endpoints = tuple(
        Endpoint(url=each.url, name=name, tier=name[:2], throughput=200.0, price=ModelPrice(request=price))  # type: ignore[arg-type]  # L1 or L2
        for each, (name, price) in zip((*local, *remote), prices.items(), strict=True)
    )
    model = Model(name="llama", endpoints=endpoints, picker="least_cost", strategy="local_first")
    served = await bench.serve(make_settings([model], data_class="P2"))

    def remote_share(found: Counter[str]) -> float:
        return sum(count for name, count in found.items() if name.startswith("L2")) / found.total()

    assert (await keep_asking(served, 1, 30)) == {"L1-0": 30}
    assert remote_share(await keep_asking(served, 2, 60)) == 0.0
    assert remote_share(await keep_asking(served, 40, 400)) > 0.2
    async with asyncio.timeout(15):
        while remote_share(await keep_asking(served, 2, 20)) > 0.0:
            pass
    await local[0].server.close()
    after = await keep_asking(served, 1, 30)
    assert after["L1-1"] == 30, "the next cheapest at home, not the cloud"
