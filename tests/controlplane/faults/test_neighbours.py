"""J9: a tenant at ten times its limit gets its limit, and its neighbour gets everything.

By counts, which a busy machine does not change; how much later the neighbour is answered is a figure of `bench.money`.
"""

import asyncio
from pathlib import Path

import pytest

from controlplane.store.database import Database
from loadtest.checker import rates
from loadtest.checker.accounts import Accounts, Bound
from loadtest.checker.history import ClientLine, History
from loadtest.driver.exchange import Caller
from loadtest.driver.plan import Load, draw
from loadtest.ledger.extract import extract
from loadtest.ledger.rest import wait_rest
from loadtest.ledger.stage import Script, Stage
from scheduler.clock import SystemClock

LOUD, QUIET = "loud", "quiet"
BOUND = Bound(tenant=LOUD, per_second=20.0, burst=10)
ASKED = 1_000
"""Requests of the loud one at most, some ten times as many as its limit lets through."""
LIMIT = {"count": "requests", "most": 20, "per": "second", "burst": 10}


async def ask(load: Load, number: int, callers: int, over: asyncio.Event, rest: float) -> list[ClientLine]:
    """Every `callers`-th request of a load from `number` on, on one connection."""
    caller, lines = Caller(load, SystemClock()), []
    while number < load.n and not over.is_set():
        lines.append(await caller.call(draw(load, number)))
        number += callers
        await asyncio.sleep(rest)
    caller.close()
    return lines


async def crowd(load: Load, callers: int, over: asyncio.Event, rest: float) -> list[ClientLine]:
    found = await asyncio.gather(*(ask(load, number, callers, over, rest) for number in range(callers)))
    return [line for lines in found for line in lines]


@pytest.mark.timeout(300)
async def test_a_loud_tenant_gets_its_limit_and_the_quiet_one_everything(tmp_path: Path) -> None:
    script = Script(
        tenants=({"name": LOUD, "limits": [LIMIT]}, {"name": QUIET}),
        price={"currency": "USD", "input": 1.0},
        mocks={"only": ("--ttft", "0", "--rate", "0", "--tokens", "8")},
        settings={"timeouts": {}},
    )
    async with Stage(tmp_path, script) as stage:
        loads = {
            name: Load(target=stage.node.url, n=ASKED, seed=seed, stream_ratio=0.0, key=stage.keys[name], max_tokens=4)
            for seed, name in enumerate((LOUD, QUIET))
        }
        over = asyncio.Event()
        quiet = asyncio.create_task(crowd(loads[QUIET], 2, over, 0.02))
        loud = await crowd(loads[LOUD], 8, asyncio.Event(), 0.02)
        over.set()
        answered = await quiet
        books = await Database.open(stage.database)
        assert await wait_rest(stage, books) == ""
        accounts = await extract(books, stage.state)
        await books.close()
    assert {line.status for line in loud} == {200, 429}
    assert {line.status for line in answered} == {200}
    assert len(answered) > 50
    lasted = max(line.ended for line in loud) - min(line.started for line in loud)
    admitted = sum(line.status == 200 for line in loud)
    assert BOUND.burst <= admitted <= BOUND.burst + BOUND.per_second * lasted * 1.02 + 1
    assert sum(one.tenant == LOUD and one.attempts > 0 for one in accounts.requests) == admitted
    accounts.bounds = [BOUND]
    assert rates.check(History(accounts=accounts)) == []
    assert_found_at_half_the_limit(accounts)


def assert_found_at_half_the_limit(accounts: Accounts) -> None:
    """The same run, held to half of what it was allowed, is a violation: the check sees what it is to see."""
    accounts.bounds = [Bound(tenant=LOUD, per_second=BOUND.per_second / 2, burst=BOUND.burst // 2)]
    assert len(rates.check(History(accounts=accounts))) == 1
