"""Limits, budgets and prices of the settings, through both doors: what callers see, and what is counted."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fastpath.settings import Endpoint, Key, Model
from fastpath.settings.pepper import make_pepper
from fastpath.settings.tenancy import Budget, Limit, ModelPrice, Tenant, Threshold
from fastpath.settings.token import KeyHasher, new_token
from loadtest.rig import Bench, Reply, chat
from loadtest.rig.bench import Served, make_settings

PRICE = ModelPrice(input=2.5, output=10.0, cached=1.25)
Open = Callable[..., Awaitable["World"]]


class World:
    """A gateway before one mock, with a key `caller` of the tenant `acme`."""

    def __init__(self, served: Served, upstream: Any, key: str) -> None:
        self.served = served
        self.upstream = upstream
        self.key = key

    async def ask(self, fault: dict[str, Any] | None = None, **more: Any) -> Reply:
        return await self.served.ask(chat(fault, key=self.key, **more))

    async def record(self) -> Any:
        """The record of the latest request."""
        return (await self.served.records.wait(len(self.served.records.all)))[-1]


@pytest.fixture
def open_world(bench: Bench, tmp_path: Path) -> Open:
    async def open_world(
        *, models: tuple[tuple[str, dict[str, Any]], ...] = (("llama", {}),), tenant: Any = None, **key: Any
    ) -> World:
        upstream = await bench.mock(models=("llama", "small"))
        token = new_token().reveal()
        hash = KeyHasher(make_pepper(tmp_path / "state")).hash_text(token)
        endpoints = (Endpoint(url=upstream.url, tier="L1"),)
        settings = make_settings(
            [Model(name=name, endpoints=endpoints, **more) for name, more in models],
            keys=(Key(name="caller", hash=hash, tenant="acme" if tenant else None, **key),),
            tenants=(tenant,) if tenant else (),
            state_dir=str(tmp_path / "state"),
        )
        return World(await bench.serve(settings), upstream, token)

    return open_world


async def test_a_rate_refuses_what_comes_too_often_and_says_when_to_come_back(open_world: Open) -> None:
    world = await open_world(limits=(Limit(count="requests", most=2, per="hour"),))
    first, second, third = [await world.ask() for _ in range(3)]
    assert [reply.status for reply in (first, second, third)] == [200, 200, 429]
    assert [reply.header("x-ratelimit-remaining-requests") for reply in (first, second)] == ["1", "0"]
    assert third.error["code"] == "rate_limit_exceeded"
    assert third.header("x-ratelimit-limit-requests") == "2"
    assert 1_700 < int(third.header("retry-after") or 0) <= 1_800
    assert 1_700_000 < float(third.header("retry-after-ms") or 0) <= 1_800_000
    assert world.upstream.asked == 2
    record = await world.record()
    assert (record.status, record.outcome, record.error, record.attempts) == (429, "refused", "rate_limit_exceeded", 0)


async def test_a_place_is_free_before_the_last_byte(open_world: Open) -> None:
    """Whoever has read an answer may ask again at once, streamed or not."""
    world = await open_world(limits=(Limit(count="concurrency", most=1),))
    client = await world.served.open()
    for n in range(60):
        reply = await client.ask(chat(key=world.key, stream=n % 2 == 0))
        assert reply.status == 200, f"request {n}: {reply.body!r}"
    client.leave()


async def test_one_too_many_at_once_is_refused_and_a_caller_that_leaves_frees_its_place(
    open_world: Open, quiet: Any
) -> None:
    world = await open_world(limits=(Limit(count="concurrency", most=1),))
    slow = await world.served.open()
    slow.send(chat({"ttft": 30}, key=world.key, stream=True))
    while world.upstream.asked < 1:
        await asyncio.sleep(0.001)
    refused = await world.ask()
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    slow.leave()
    await quiet(world.served).wait()
    assert (await world.ask()).status == 200


async def test_tokens_are_charged_as_they_were_used(open_world: Open) -> None:
    world = await open_world(limits=(Limit(count="tokens", most=100_000, per="day"),))
    reply = await world.ask(max_tokens=50_000)
    usage = reply.json["usage"]
    after = await world.ask(max_tokens=1)
    used = 2 * usage["prompt_tokens"] + usage["completion_tokens"] + 1
    assert abs(100_000 - int(after.header("x-ratelimit-remaining-tokens") or 0) - used) <= 40  # the second's estimate
    refused = await world.ask(max_tokens=100_000)
    assert (refused.status, refused.error["type"]) == (429, "rate_limit_error")


async def test_what_a_request_cost_is_told_logged_and_counted(open_world: Open) -> None:
    world = await open_world(models=(("llama", {"price": PRICE}),))
    reply = await world.ask()
    usage = reply.json["usage"]
    nano = 2_500 * usage["prompt_tokens"] + 10_000 * usage["completion_tokens"]
    record = await world.record()
    assert (record.cost_nano, record.currency) == (nano, "USD")
    assert round(float(reply.header("x-fastpath-cost") or 0) * 1e9) == nano
    streamed = await world.ask(stream=True)
    assert streamed.header("x-fastpath-cost") is None  # its head is out before anybody knows
    assert (await world.record()).cost_nano == nano
    counted = world.served.gateway.metrics.snapshot().counters["ai_inference_cost_usd_total"]
    assert counted == {("llama",): 2 * nano}


async def test_a_failed_request_costs_nothing(open_world: Open, quiet: Any) -> None:
    world = await open_world(
        models=(("llama", {"price": PRICE}),),
        budgets=(Budget(amount=1.0),),
        limits=(Limit(count="tokens", most=10**6),),
    )
    reply = await world.ask({"status": 500}, max_tokens=10)
    assert reply.status == 502
    assert (await world.record()).cost_nano is None
    after = await world.ask(max_tokens=1)
    assert int(after.header("x-ratelimit-remaining-tokens") or 0) > 10**6 - 100


async def test_a_spent_budget_is_no_matter_of_waiting(open_world: Open) -> None:
    world = await open_world(models=(("llama", {"price": PRICE}),), budgets=(Budget(amount=0.0042),))
    replies = [await world.ask(max_tokens=100) for _ in range(40)]
    refused = [reply for reply in replies if reply.status != 200]
    assert refused
    assert {reply.status for reply in refused} == {429}
    assert {reply.error["code"] for reply in refused} == {"insufficient_quota"}
    assert {(reply.header("retry-after"), reply.header("x-should-retry")) for reply in refused} == {(None, "false")}
    spent = sum(record.cost_nano or 0 for record in world.served.records.all)
    assert 0 < spent <= 4_200_000


async def test_many_at_once_do_not_overspend(open_world: Open) -> None:
    """Lesson 4: what running requests may still cost is set aside before they are sent."""
    world = await open_world(models=(("llama", {"price": PRICE}),), budgets=(Budget(amount=0.05),))
    # Long enough that the last has come before the first is over and has given back what it did not use.
    replies = await asyncio.gather(*[world.ask({"ttft": 2.0}, max_tokens=1_000) for _ in range(64)])
    statuses = [reply.status for reply in replies]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) <= 5  # 1,000 tokens of output alone are 0.01
    assert world.upstream.asked == statuses.count(200)
    assert sum(record.cost_nano or 0 for record in world.served.records.all) <= 50_000_000


async def test_a_budget_sends_callers_to_a_cheaper_model(open_world: Open) -> None:
    world = await open_world(
        models=(("llama", {"price": PRICE}), ("small", {"price": ModelPrice(input=0.1, output=0.1)})),
        budgets=(
            Budget(amount=1_000.0, hard=False, thresholds=(Threshold(percent=1, action="degrade", model="small"),)),
        ),
    )
    assert (await world.ask()).header("x-fastpath-substitute") is None
    ledger = world.served.gateway.app._pipeline.snapshot.desk  # type: ignore[union-attr]  # it runs
    standing = ledger.standing("caller", "llama")
    now = world.served.gateway.app._runtime.clock
    ledger.admit(standing, now.monotonic(), now.now(), 0, 0, 0).settle(now.monotonic(), 0, 0, 20 * 10**9)
    reply = await world.ask()
    assert reply.status == 200, reply.body
    assert (reply.status, reply.header("x-fastpath-substitute"), reply.json["model"]) == (200, "small", "small")
    assert (await world.record()).model == "small"
    client = await world.served.open()
    request = chat(key=world.key).replace(b"host:", b"x-fastpath-no-substitute: 1\r\nhost:", 1)
    refused = await client.ask(request)
    assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
    client.leave()


async def test_a_model_that_all_callers_share_is_overloaded_and_tells_nobody_how_much(open_world: Open) -> None:
    world = await open_world(models=(("llama", {"limits": (Limit(count="requests", most=1, per="hour"),)}),))
    first, second = await world.ask(), await world.ask()
    assert (first.status, second.status, second.error["code"]) == (200, 503, "overloaded")
    assert first.header("x-ratelimit-remaining-requests") is None


async def test_a_tenant_shares_and_a_reload_does_not_give_twice(open_world: Open) -> None:
    tenant = Tenant(name="acme", limits=(Limit(count="requests", most=3, per="day"),))
    world = await open_world(tenant=tenant)
    assert [(await world.ask()).status for _ in range(2)] == [200, 200]
    gateway = world.served.gateway
    assert gateway.app is not None
    gateway.app.reload(gateway.settings)
    assert [(await world.ask()).status for _ in range(2)] == [200, 429]


async def test_a_refused_request_changes_nothing(open_world: Open) -> None:
    """Lesson 3: what concurrency refuses must not burn the rate."""
    world = await open_world(limits=(Limit(count="concurrency", most=1), Limit(count="requests", most=10, per="day")))
    slow = await world.served.open()
    slow.send(chat({"ttft": 30}, key=world.key, stream=True))
    while world.upstream.asked < 1:
        await asyncio.sleep(0.001)
    for _ in range(5):
        assert (await world.ask()).status == 429
    slow.leave()
    replies = []
    while len(replies) < 9:
        reply = await world.ask()
        if reply.status == 200:
            replies.append(reply)
    assert replies[-1].header("x-ratelimit-remaining-requests") == "0"
