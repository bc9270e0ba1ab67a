"""What requests cost, through a real gateway: every provider's usage, whose price, markup, currencies, midnight."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fastpath.money.price import Billable
from fastpath.outbox.facts import End, Intent
from fastpath.settings import Endpoint, Key, Model
from fastpath.settings.pepper import make_pepper
from fastpath.settings.problem import SettingsError
from fastpath.settings.tenancy import Budget, ModelPrice, Tenant
from fastpath.settings.token import KeyHasher, new_token
from loadtest.rig import Bench, chat, post
from loadtest.rig.bench import Served, make_settings
from tests.dialects.shapes import OPENAI, SHAPES, Shape
from tests.gateway.prices import ROW, Wall, nano_by_hand, row, streamed, whole, write_list

LONG = "x" * 200_000  # the longest prompt that a shape reports has 188,407 tokens
PATHS = {"responses": "/v1/responses", "anthropic": "/v1/messages", "openai embeddings": "/v1/embeddings"}
USAGE = Billable(93, 1024, 0, 46, 100)  # of OPENAI
NANO = 93 * 3_000 + 1024 * 1_000 + 46 * 11_000 + 100 * 13_000


def path_of(shape: Shape) -> str:
    return next((path for name, path in PATHS.items() if shape.name.startswith(name)), "/v1/chat/completions")


def request(path: str, *, stream: bool = False, **more: Any) -> bytes:
    body: dict[str, Any] = {"model": "llama", "stream": stream, **more}
    if path in ("/v1/chat/completions", "/v1/messages"):
        body |= {"messages": [{"role": "user", "content": LONG}]}
        body.setdefault("max_tokens", 1_000)
    else:
        body |= {"input": LONG}
    return post(body, path)


async def serve(bench: Bench, prices: str, **model: Any) -> tuple[Served, Any]:
    upstream = await bench.mock()
    endpoint = Endpoint(url=upstream.url, tier="L1", provider="own")
    return await bench.serve(
        make_settings([Model(name="llama", endpoints=(endpoint,), **model)], prices=prices)
    ), upstream


class Facts:
    """Stands where an outbox does."""

    def __init__(self, served: Served) -> None:
        from fastpath.account.books import Books
        from fastpath.outbox.facts import decode

        self.all: list[Any] = []
        self._decode = decode
        assert served.gateway.app is not None
        served.gateway.app._runtime.books = Books(self)

    def put(self, record: bytes) -> bool:
        self.all.append(self._decode(record))
        return True

    put_opening = put_closing = put

    @property
    def intents(self) -> list[Intent]:
        return [fact for fact in self.all if isinstance(fact, Intent)]

    @property
    def ends(self) -> list[End]:
        return [fact for fact in self.all if isinstance(fact, End)]


# -- every provider's usage


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
async def test_a_whole_answer_costs_what_its_usage_says(bench: Bench, tmp_path: Path, shape: Shape) -> None:
    served, upstream = await serve(bench, write_list(tmp_path, row("llama")))
    facts = Facts(served)
    upstream.script(whole(shape.whole))
    reply = await served.ask(request(path_of(shape)))
    assert reply.status == 200
    (record,) = await served.records.wait(1)
    assert record.usage is not None
    assert record.usage.billable() == shape.billed
    assert (record.cost_nano, record.currency) == (nano_by_hand(shape.billed), "USD")
    assert (record.estimated, record.disputed) == (False, False)
    assert round(float(reply.header("x-fastpath-cost") or 0) * 1e9) == record.cost_nano
    (attempt,) = facts.ends[0].attempts
    assert attempt.usage == shape.billed


#: Told where no stream of the dialects that are relayed tells it: such a stream is estimated.
ELSEWHERE = ("gemini", "ollama", "moonshot", "groq", "openai embeddings")


@pytest.mark.parametrize(
    "shape", [one for one in SHAPES if not one.name.startswith(ELSEWHERE)], ids=lambda one: one.name
)
async def test_a_stream_costs_what_the_whole_answer_does(bench: Bench, tmp_path: Path, shape: Shape) -> None:
    served, upstream = await serve(bench, write_list(tmp_path, row("llama")))
    path = path_of(shape)
    said: list[Any] = {
        "/v1/messages": [{"type": "content_block_delta", "delta": {"text": "a"}}],
        "/v1/responses": [{"type": "response.output_text.delta", "delta": "a"}],
    }.get(path, [{"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}])
    if path == "/v1/messages":
        events = [shape.events[0], *said, *shape.events[1:], {"type": "message_stop"}]
    else:
        events = [*said, *shape.events]
    upstream.script(streamed(*events, done=path == "/v1/chat/completions"))
    reply = await served.ask(request(path, stream=True))
    assert reply.status == 200
    (record,) = await served.records.wait(1)
    assert record.outcome == "complete"
    assert record.usage is not None
    assert record.usage.billable() == shape.billed
    assert record.cost_nano == nano_by_hand(shape.billed)


# -- whose price


async def test_cost_is_by_the_endpoints_price_and_charge_by_the_models(bench: Bench, tmp_path: Path) -> None:
    served, upstream = await serve(
        bench, write_list(tmp_path, row("llama")), price=ModelPrice(input=100, output=200), markup_ppm=250_000
    )
    facts = Facts(served)
    upstream.script(whole({"choices": [], "usage": OPENAI}))
    await served.ask(request("/v1/chat/completions"))
    (record,) = await served.records.wait(1)
    charge = (1_117 * 100_000 + 146 * 200_000) * 5 // 4
    assert (record.cost_nano, record.provider_usd_nano) == (charge, NANO)
    (intent,) = facts.intents
    assert intent.price is not None
    assert intent.charge is not None
    assert intent.price.version.startswith("own/llama@2020-01-01#")
    assert intent.charge.version.startswith("settings/llama#")
    assert (intent.markup_ppm, intent.currency, intent.rate) == (250_000, "USD", None)
    assert intent.reserved >= charge


async def test_each_attempt_is_priced_by_its_own_endpoint(bench: Bench, tmp_path: Path) -> None:
    first, second = await bench.mock(), await bench.mock(models=("cheap",))
    first.script(*[whole({"error": {"message": "no"}})])
    endpoints = (
        Endpoint(url=first.url, name="e0", tier="L1", provider="own", quality=1.0),
        Endpoint(url=second.url, name="e1", tier="L1", provider="own", model="cheap", quality=0.0),
    )
    prices = write_list(tmp_path, row("llama") + "\n" + row("cheap", "input: 1, output: 2"))
    served = await bench.serve(make_settings([Model(name="llama", endpoints=endpoints)], prices=prices))
    facts = Facts(served)
    reply = await served.ask(chat(max_tokens=4))
    (record,) = await served.records.wait(1)
    usage = reply.json["usage"]
    assert record.cost_nano == usage["prompt_tokens"] * 1_000 + usage["completion_tokens"] * 2_000
    versions = [intent.price.version.partition("@")[0] for intent in facts.intents if intent.price is not None]
    assert versions == ["own/llama", "own/cheap"]
    assert facts.intents[0].reserved == facts.intents[1].reserved > 4 * 11_000


async def test_the_shipped_list_knows_providers_by_name(bench: Bench) -> None:
    upstream = await bench.mock(models=("gpt-4o-mini-2024-07-18",))
    endpoint = Endpoint(url=upstream.url, tier="L1", provider="openai", model="gpt-4o-mini-2024-07-18")
    served = await bench.serve(make_settings([Model(name="mini", endpoints=(endpoint,))]))
    reply = await served.ask(chat(model="mini"))
    usage = reply.json["usage"]
    (record,) = await served.records.wait(1)
    assert record.cost_nano == usage["prompt_tokens"] * 150 + usage["completion_tokens"] * 600


async def test_a_model_that_no_row_names_has_no_price(bench: Bench, tmp_path: Path) -> None:
    served, _ = await serve(bench, write_list(tmp_path, row("another")))
    facts = Facts(served)
    reply = await served.ask(chat())
    assert reply.header("x-fastpath-cost") is None
    (record,) = await served.records.wait(1)
    assert (record.cost_nano, record.currency) == (None, None)
    (intent,) = facts.intents
    assert (intent.price, intent.charge, intent.reserved) == (None, None, 0)


async def test_a_wildcard_is_priced_by_the_name_that_was_asked_for(bench: Bench, tmp_path: Path) -> None:
    upstream = await bench.mock(models=("a", "b"))
    endpoint = Endpoint(url=upstream.url, tier="L1", provider="own")
    prices = write_list(tmp_path, row("a", "input: 1") + "\n" + row("b", "input: 2"))
    served = await bench.serve(make_settings([Model(name="*", endpoints=(endpoint,))], prices=prices))
    for name in ("a", "b"):
        await served.ask(chat(model=name))
    first, second = await served.records.wait(2)
    assert first.cost_nano
    assert second.cost_nano == 2 * first.cost_nano


async def test_images_are_billed_by_the_piece_that_came(bench: Bench, tmp_path: Path) -> None:
    served, upstream = await serve(bench, write_list(tmp_path, row("llama", "image: 0.04, request: 0.001")))
    upstream.script(whole({"created": 1, "data": [{"url": "a"}, {"url": "b"}]}), whole({"data": [{}] * 9}))
    for _ in range(2):
        await served.ask(post({"model": "llama", "prompt": "a cat", "n": 3}, "/v1/images/generations"))
    first, second = await served.records.wait(2)
    assert first.cost_nano == 2 * 40_000_000 + 1_000_000
    assert second.cost_nano == 3 * 40_000_000 + 1_000_000  # never more than were asked for


# -- midnight


async def test_a_price_that_begins_at_midnight_is_used_from_then_on(bench: Bench, tmp_path: Path) -> None:
    upstream = await bench.mock()
    endpoint = Endpoint(url=upstream.url, tier="L1", provider="own")
    prices = write_list(tmp_path, row("llama", "input: 1") + "\n" + row("llama", "input: 9", "2026-03-01"))
    midnight = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    clock = Wall(midnight - 0.001)
    served = await bench.serve(make_settings([Model(name="llama", endpoints=(endpoint,))], prices=prices), clock)
    facts = Facts(served)
    tokens = (await served.ask(chat())).json["usage"]["prompt_tokens"]
    late = await served.open()
    late.send(chat({"ttft": 0.3}))  # admitted before midnight, answered after it
    while upstream.asked < 2:
        await asyncio.sleep(0.001)
    clock.wall = midnight
    await served.ask(chat())
    assert (await late.reply()).status == 200
    late.leave()
    costs = {record.ts: record.cost_nano for record in served.records.all if record.cost_nano is not None}
    assert costs == {midnight - 0.001: tokens * 1_000, midnight: tokens * 9_000}
    starts = [intent.price.version.partition("#")[0] for intent in facts.intents if intent.price is not None]
    assert starts == ["own/llama@2020-01-01", "own/llama@2020-01-01", "own/llama@2026-03-01"]


async def test_a_reload_reads_the_list_anew_and_refuses_one_with_a_mistake(bench: Bench, tmp_path: Path) -> None:
    served, _ = await serve(bench, write_list(tmp_path, row("llama", "input: 1")))
    await served.ask(chat())
    app = served.gateway.app
    assert app is not None
    write_list(tmp_path, row("llama", "input: 1.0000001"))
    with pytest.raises(SettingsError, match=r"prices\.yaml:7 .*input has 7 decimals"):
        app.reload(served.gateway.settings)
    write_list(tmp_path, row("llama", "input: 2"))
    await served.ask(chat())
    app.reload(served.gateway.settings)
    await served.ask(chat())
    first, second, third = await served.records.wait(3)
    assert first.cost_nano == second.cost_nano
    assert third.cost_nano == 2 * (first.cost_nano or 0) > 0


# -- tenants: markup and currencies

RATE = "  - {from: USD, to: CNY, date: 2020-01-01, rate: 7.1068}"


async def serve_tenant(bench: Bench, folder: Path, tenant: Tenant, **model: Any) -> tuple[Served, Any, str]:
    upstream = await bench.mock()
    token = new_token().reveal()
    hash = KeyHasher(make_pepper(folder / "state")).hash_text(token)
    endpoint = Endpoint(url=upstream.url, tier="L1", provider="own")
    settings = make_settings(
        [Model(name="llama", endpoints=(endpoint,), **model)],
        keys=(Key(name="caller", hash=hash, tenant=tenant.name),),
        tenants=(tenant,),
        state_dir=str(folder / "state"),
        prices=str(folder / "prices.yaml"),
    )
    return await bench.serve(settings), upstream, token


@pytest.mark.parametrize(("own", "percent"), [(None, 120), (-100_000, 90), (0, 100)])
async def test_a_tenants_markup_wins_over_the_models(
    bench: Bench, tmp_path: Path, own: int | None, percent: int
) -> None:
    write_list(tmp_path, row("llama"))
    tenant = Tenant(name="acme", markup_ppm=own)
    served, upstream, key = await serve_tenant(bench, tmp_path, tenant, markup_ppm=200_000)
    upstream.script(whole({"choices": [], "usage": OPENAI}))
    await served.ask(chat(text=LONG, key=key, max_tokens=1_000))
    (record,) = await served.records.wait(1)
    assert record.cost_nano == NANO * percent // 100
    assert record.provider_usd_nano == NANO


async def test_a_bill_is_in_the_tenants_currency_rounded_once(bench: Bench, tmp_path: Path) -> None:
    write_list(tmp_path, row("llama"), rates=RATE)
    served, upstream, key = await serve_tenant(
        bench, tmp_path, Tenant(name="acme", currency="CNY", budgets=(Budget(amount=1_000),)), markup_ppm=1
    )
    facts = Facts(served)
    upstream.script(whole({"choices": [], "usage": OPENAI}))
    reply = await served.ask(chat(text=LONG, key=key, max_tokens=1_000))
    (record,) = await served.records.wait(1)
    exact = NANO * 1_000_001 * 71_068  # in 1e-19 of a yuan
    assert (record.cost_nano, record.currency) == (round(exact / 10**10), "CNY")
    assert float(reply.header("x-fastpath-cost") or 0) * 1e9 == pytest.approx(record.cost_nano)
    (intent,) = facts.intents
    assert intent.rate is not None
    assert (intent.currency, intent.rate.source, intent.rate.target) == ("CNY", "USD", "CNY")
    app = served.gateway.app
    assert app is not None
    desk = app._pipeline.snapshot.desk
    assert desk is not None
    assert desk.standing("caller", "llama").plan.limiter.committed(0)[:2] == (record.cost_nano, 0)


async def test_a_budget_holds_the_worst_case_in_the_tenants_currency(bench: Bench, tmp_path: Path) -> None:
    """1,000 answer tokens are 0.011 dollars and 0.078 yuan: too much for a budget of 0.05 yuan."""
    write_list(tmp_path, row("llama"), rates=RATE)
    tenant = Tenant(name="acme", currency="CNY", budgets=(Budget(amount=0.05),))
    served, upstream, key = await serve_tenant(bench, tmp_path, tenant)
    refused = await served.ask(chat(key=key, max_tokens=1_000))
    assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
    assert upstream.asked == 0
    assert (await served.ask(chat(key=key, max_tokens=100))).status == 200


async def test_without_a_rate_nothing_is_sent_and_the_operator_is_named(bench: Bench, tmp_path: Path) -> None:
    """Rates are neither inverted nor made up."""
    write_list(tmp_path, row("llama"), rates="  - {from: CNY, to: USD, date: 2020-01-01, rate: 0.14}")
    served, upstream, key = await serve_tenant(bench, tmp_path, Tenant(name="acme", currency="CNY"))
    refused = await served.ask(chat(key=key))
    assert refused.status == 503
    assert "no rate from USD to CNY" in refused.error["message"]
    assert upstream.asked == 0


def test_the_rows_here_have_no_part_in_common() -> None:
    assert len({part.partition(":")[2] for part in ROW.split(",")}) == 8
