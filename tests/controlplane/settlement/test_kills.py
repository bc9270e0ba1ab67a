"""F24, F25, F33, F34: writers and settlement services killed -9 at random, PostgreSQL stopped for a while.

Afterwards every request was booked once, at what its worker had said when it died; nothing is set aside.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from controlplane.ledger.books import Ledger
from controlplane.ledger.tables import TRANSACTIONS, Book
from controlplane.settlement.holders import NAME
from controlplane.settlement.inbox import Inbox
from controlplane.settlement.plan import Plan
from controlplane.settlement.service import Clocks, SettlementService
from controlplane.store import schema
from controlplane.store.database import Database
from fastpath.money.price import Billable
from fastpath.outbox.facts import End, Fact, Intent, Mark
from tests.conftest import ROOT
from tests.controlplane.ledger.facts import SECRET, T0
from tests.controlplane.settlement.workers import facts_of
from tests.controlplane.store.cluster import Cluster

SCRIPT = Path(__file__).with_name("workers.py")
ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT)}
WRITERS = int(os.environ.get("FASTPATH_KILLS", "28"))
SETTLERS = WRITERS // 2
DOWN = 10.0  # seconds

Sums = tuple[int, int]  # charge, cost
Said = dict[bytes, list[Fact]]


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


def said_by(came: list[list[int]], which: int) -> Said:
    """Facts by request. which 1: those whose append had begun when the worker was killed; 2: had returned."""
    said: Said = {}
    for life, *counts in came:
        for fact, _ in zip(facts_of(life, T0), range(counts[which - 1]), strict=False):
            said.setdefault(fact.request, []).append(fact)
    return said


def price_of(usage: Billable) -> int:
    return usage.input * 3 + usage.output * 15


def sums_of(facts: list[Fact]) -> Sums:
    """What a request comes to, by the words of docs/reference/ledger.md and not by its code."""
    ends = [fact for fact in facts if isinstance(fact, End)]
    if ends:
        used = [(attempt.usage, attempt.delivered) for attempt in ends[0].attempts if attempt.usage is not None]
        return sum(price_of(usage) * 11 for usage, paid in used if paid), sum(price_of(usage) for usage, _ in used)
    last = max(fact.attempt for fact in facts if isinstance(fact, Intent))
    marks = {fact.attempt: fact.usage for fact in facts if isinstance(fact, Mark)}
    charge = price_of(marks[last]) * 11 if last in marks else 0
    cost = sum(price_of(usage) for usage in marks.values())
    return charge, cost if last in marks else cost + 1_000 * 3


async def booked(database: Database) -> dict[bytes, Sums]:
    """By request; the charge before its one rounding cannot be told, so it is given in tenths."""
    query = select(TRANSACTIONS.c.request, TRANSACTIONS.c.book, func.sum(TRANSACTIONS.c.amount)).group_by(
        TRANSACTIONS.c.request, TRANSACTIONS.c.book
    )
    found: dict[bytes, dict[int, int]] = {}
    async with database.read() as connection:
        for request, book, amount in (await connection.execute(query)).all():
            found.setdefault(bytes(request), {})[book] = int(amount)
    return {request: (sums.get(Book.CHARGE, 0), sums.get(Book.COST, 0)) for request, sums in found.items()}


def rounded(sums: Sums) -> Sums:
    """Tenths of the charge as nano-units, half to even."""
    return round(sums[0] / 10), sums[1]


async def settle_all(folder: Path, database: Database) -> Ledger:
    """What is left in the outbox, whose writers are dead."""
    ledger = Ledger(database, SECRET, now=lambda: T0 + 60)
    service = SettlementService(Inbox(folder), ledger, database, Clocks(lambda: T0 + 60, time.monotonic), Plan())
    while await service.step():
        pass
    await service.step()
    assert service.figures().quarantined == service.figures().lost == service.figures().damaged == 0
    await service.close()
    return ledger


async def check(folder: Path, database: Database, came: list[list[int]]) -> None:
    ledger = await settle_all(folder, database)
    begun, done, found = said_by(came, 1), said_by(came, 2), await booked(database)
    assert set(done) <= set(found) <= set(begun)
    wrong = {
        request.hex(): (found[request], sums_of(facts))
        for request, facts in begun.items()
        if request in found
        and found[request] not in (rounded(sums_of(facts)), rounded(sums_of(done.get(request, facts))))
    }
    assert wrong == {}
    assert sum(len(facts) for facts in begun.values()) - sum(len(facts) for facts in done.values()) <= len(came)
    assert await ledger.violations(at_rest=True) == []
    assert not list(folder.glob("*.seg")), "all of it was given up"
    assert len((folder / NAME).read_bytes()) < 32, "nothing is held"


def start(*command: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, command)], env=ENVIRON, cwd=ROOT, stdout=subprocess.PIPE
    )


async def output_of(process: "subprocess.Popen[bytes]") -> Any:
    out, _ = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    return json.loads(out)


@pytest.fixture
async def books(url: str) -> AsyncIterator[Database]:
    opened = await Database.open(url)
    yield opened
    await opened.close()


@pytest.mark.timeout(60 + 6 * WRITERS)
async def test_F33_F34_writers_and_settlers_killed_at_random_points(folder: Path, url: str, books: Database) -> None:
    writing = start("write", folder, WRITERS, 33, 0.5, T0)
    settling = start("settle", folder, url, SETTLERS, 34, 1.0, T0)
    came, killed = await output_of(writing), await output_of(settling)
    assert len(came) + killed >= min(40, WRITERS * 3 // 2)
    assert min(done for _, _, done in came) > 0, "every writer had begun"
    assert await booked(books), "the services that were killed had settled some"
    await check(folder, books, came)


@pytest.mark.timeout(240)
async def test_F24_postgresql_stopped_for_a_while_loses_nothing(folder: Path, own_cluster: Cluster) -> None:
    url = own_cluster.url(own_cluster.create_database())
    database = await Database.open(url)
    await schema.upgrade(database)
    ledger = Ledger(database, SECRET, now=lambda: T0 + 60)
    service = SettlementService(
        Inbox(folder), ledger, database, Clocks(lambda: T0 + 60, time.monotonic), Plan(linger=0.01)
    )
    service.start()
    writing = start("write", folder, 4, 24, 4.0, T0)
    async with asyncio.timeout(60):
        while service.figures().settled < 50:
            await asyncio.sleep(0.01)
    await asyncio.to_thread(own_cluster.stop_at_once)
    async with asyncio.timeout(60):
        while not service.figures().problem:
            await asyncio.sleep(0.01)
    at = service.figures()
    await asyncio.sleep(DOWN)
    assert service.figures().settled == at.settled
    assert service.figures().failures > at.failures
    assert service.figures().lag_seconds >= DOWN
    assert service.figures().backlog_bytes > 0
    await asyncio.to_thread(own_cluster.start)
    came = msgspec.convert(await output_of(writing), list[list[int]])
    returned = time.monotonic()
    async with asyncio.timeout(60):  # F24
        while service.figures().problem or list(folder.glob("*.seg")):
            await asyncio.sleep(0.01)
    assert time.monotonic() - returned < 60
    await service.close()
    await check(folder, database, came)
    await database.close()
