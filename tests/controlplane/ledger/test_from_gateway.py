"""What a gateway told its callers is what the ledger books: bill by bill, in the tenant's currency, cost beside it."""

import time
from pathlib import Path

import pytest

from controlplane.ledger.balances import Subject
from controlplane.ledger.books import Ledger
from fastpath.settings.tenancy import ModelPrice, Tenant
from loadtest.rig import Bench, chat
from tests.controlplane.ledger.facts import ALWAYS, Now
from tests.gateway.prices import row, whole, write_list
from tests.gateway.test_prices import RATE, Facts, serve_tenant


@pytest.mark.parametrize("price", [None, ModelPrice(currency="CNY", input=30, output=90)], ids=["by list", "by model"])
async def test_a_bill_is_the_same_wherever_it_is_reckoned(
    ledger: Ledger, now: Now, tmp_path: Path, price: ModelPrice | None
) -> None:
    write_list(tmp_path, row("llama"), rates=RATE)
    tenant = Tenant(name="acme", currency="CNY", markup_ppm=123_457)
    async with Bench() as bench:
        served, upstream, key = await serve_tenant(bench, tmp_path, tenant, price=price)
        facts = Facts(served)
        lie = {"choices": [], "usage": {"prompt_tokens": 10**9, "completion_tokens": 7}}
        upstream.script(*[whole(lie)], times=1)
        for stream in (False, False, True):
            assert (await served.ask(chat(key=key, stream=stream, max_tokens=9))).status == 200
        records = await served.records.wait(3)
    now.seconds = time.time()
    await ledger.settlement.settle(facts.all)
    balances = {balance.currency: balance for balance in await ledger.balances(Subject("acme"), ALWAYS)}
    assert {record.currency for record in records} == {"CNY"}
    assert balances["CNY"].charge == sum(record.cost_nano or 0 for record in records) > 0
    assert balances["USD"].cost == sum(record.provider_usd_nano or 0 for record in records) > 0
    assert (balances["CNY"].requests, balances["USD"].requests) == (3, 0)
    assert [record.disputed for record in records] == [True, False, False]
    assert await ledger.stakes() == []
    assert await ledger.violations(at_rest=True) == []
