"""F25, F34: the database, or the settler, killed -9 in the middle of batches. What was sent is sent again, once more.

`FASTPATH_KILLS=200` kills PostgreSQL as often; 12 times is what a test run does.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from controlplane.ledger.balances import Subject
from controlplane.ledger.books import Ledger
from controlplane.ledger.tables import ATTEMPTS, TRANSACTIONS
from controlplane.store import schema
from controlplane.store.database import Database, Options
from controlplane.store.errors import StoreError
from fastpath.outbox.facts import Fact
from tests.controlplane.ledger.facts import ALWAYS, CHARGE, COST, SECRET, Now, delivered, end, failed, intent, mark
from tests.controlplane.store.cluster import Cluster

ROOT = Path(__file__).parents[3]
KILLS = int(os.environ.get("FASTPATH_KILLS", "12"))
SIZE = 120  # requests of one round


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


def facts_of(round_number: int) -> list[Fact]:
    """Each request's end comes batches later than its intents."""
    numbers = range(round_number * SIZE, (round_number + 1) * SIZE)
    begun: list[Fact] = [fact for n in numbers for fact in (intent(n), intent(n, 2), mark(n, 2))]
    return begun + [end(n, failed(1), delivered(2)) for n in numbers]


async def send(ledger: Ledger, facts: list[Fact], chance: random.Random, told: Callable[[], object] = int) -> None:
    """In batches of any size, as a reader of the outbox does. told: after each."""
    while facts:
        size = chance.randrange(1, 2 * SIZE)
        batch, facts = facts[:size], facts[size:]
        await ledger.settlement.settle(batch)
        told()


async def check_books(ledger: Ledger, database: Database, rounds: int) -> None:
    (balance,) = await ledger.balances(Subject("acme"), ALWAYS)
    assert (balance.charge, balance.cost) == (rounds * SIZE * CHARGE, rounds * SIZE * COST)
    async with database.read() as connection:
        written = (await connection.execute(select(func.count()).select_from(TRANSACTIONS))).scalar_one()
        left = (await connection.execute(select(func.count()).select_from(ATTEMPTS))).scalar_one()
    assert (written, left) == (2 * rounds * SIZE, 0)


def _tell(told: list[float]) -> None:
    told.append(time.perf_counter())


@pytest.mark.timeout(60 + 20 * KILLS)
async def test_F25_postgresql_killed_at_random_points(own_cluster: Cluster) -> None:
    chance = random.Random(25)
    database = await Database.open(
        own_cluster.url(own_cluster.create_database()), Options(statement_seconds=20, wait_seconds=20)
    )
    await schema.upgrade(database)
    ledger = Ledger(database, SECRET, now=Now())
    hurt = 0
    for number in range(KILLS):
        told: list[float] = [time.perf_counter()]
        telling = partial(_tell, told)
        sending = asyncio.create_task(send(ledger, facts_of(number), chance, telling))
        while len(told) < 2:
            await asyncio.sleep(0.001)
        usual = told[1] - told[0]  # of one batch: it is killed in one of the next
        await asyncio.sleep(chance.uniform(0, usual))  # a random point: this is the one thing here that is by time
        await asyncio.to_thread(own_cluster.kill)
        try:
            await sending
        except StoreError:
            hurt += 1
        await asyncio.to_thread(own_cluster.start)
        await send(ledger, facts_of(number), chance)
        await check_books(ledger, database, number + 1)
    assert await ledger.violations(at_rest=True) == []
    assert hurt >= KILLS // 3, "most kills must have met a batch under way"
    await database.close()


SETTLER = """
import asyncio, random, sys
from controlplane.ledger.books import Ledger
from controlplane.store.database import Database
from tests.controlplane.ledger.facts import SECRET, Now
from tests.controlplane.ledger.test_kills import facts_of, send

async def main(url, rounds):
    database = await Database.open(url)
    ledger = Ledger(database, SECRET, now=Now())
    for number in range(rounds):
        await send(ledger, facts_of(number), random.Random(number), lambda: print("batch", flush=True))
    await database.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.timeout(300)
async def test_F34_the_settler_killed_at_random_points(url: str) -> None:
    chance = random.Random(34)
    rounds = 6  # of three batches or more
    command = [sys.executable, "-c", SETTLER, url, str(rounds)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(8):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, cwd=ROOT)
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 2 * rounds)):
            assert await asyncio.to_thread(process.stdout.readline) == b"batch\n"
        process.kill()  # somewhere in the next batch
        assert await asyncio.to_thread(process.wait) == -signal.SIGKILL
        process.stdout.close()
    done = await asyncio.to_thread(subprocess.run, command, env=environ, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    assert done.returncode == 0
    database = await Database.open(url)
    ledger = Ledger(database, SECRET, now=Now())
    await check_books(ledger, database, rounds)
    assert await ledger.violations(at_rest=True) == []
    await database.close()
