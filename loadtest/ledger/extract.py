"""The books as the checker wants them: what a database of the control plane says of each request.

Owns the queries, which only read, and each of which sees one moment. Does not judge; what the ledger's own check finds
is passed on. Concurrency: one event loop.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import case, func, select

from controlplane.ledger.books import Ledger
from controlplane.ledger.states import OPEN
from controlplane.ledger.tables import ENTRIES, REQUESTS, TRANSACTIONS, Book
from controlplane.settlement.billing import ledger_secret
from controlplane.store.database import Database
from fastpath.money.amount import parse_nano
from fastpath.settings.pepper import make_pepper
from loadtest.checker.accounts import Account, Accounts, Difference

MICROS = 1_000_000
_OPEN = tuple(int(state) for state in sorted(OPEN))


async def extract(database: Database, state: Path) -> Accounts:
    """All requests and sums; statements, differences and what the arena holds are the caller's to add."""
    books = Accounts(requests=await _accounts(database))
    async with database.read() as connection:
        amount = ENTRIES.c.amount
        positive = func.coalesce(func.sum(case((amount > 0, amount), else_=0)), 0)
        negative = func.coalesce(func.sum(case((amount < 0, -amount), else_=0)), 0)
        debits, credits = (await connection.execute(select(positive, negative))).one()
    books.debits, books.credits = int(debits), int(credits)
    ledger = Ledger(database, ledger_secret(make_pepper(state)))
    books.findings = [
        f"{one.rule} {one.subject}: {one.detail}" for one in await ledger.violations(at_rest=True) if one.rule != "J3"
    ]
    books.held.open, books.held.open_reserved = await count_open(database)
    return books


async def count_open(database: Database) -> tuple[int, int]:
    """Requests that are not over, and the nano-units that are set aside for them."""
    query = select(func.count(), func.coalesce(func.sum(REQUESTS.c.reserved), 0)).where(REQUESTS.c.state.in_(_OPEN))
    async with database.read() as connection:
        count, reserved = (await connection.execute(query)).one()
    return int(count), int(reserved)


async def _accounts(database: Database) -> list[Account]:
    table = REQUESTS.c
    columns = (
        *(table.request, table.tenant, table.admitted, table.attempts),
        *(table.outcome, table.ended, table.state, table.reserved),
    )
    posted = (TRANSACTIONS.c.request, TRANSACTIONS.c.attempt, TRANSACTIONS.c.book)
    async with database.read() as connection:
        rows = (await connection.execute(select(*columns))).all()
        sums = (await connection.execute(select(*posted, func.sum(TRANSACTIONS.c.amount)).group_by(*posted))).all()
    accounts = {
        bytes(row.request): Account(
            request=bytes(row.request).hex(),
            tenant=row.tenant,
            admitted=row.admitted / MICROS,
            attempts=row.attempts,
            outcome=row.outcome,
            over=row.ended is not None and row.state not in _OPEN,
            reserved=row.reserved,
        )
        for row in rows
    }
    for request, attempt, book, amount in sums:
        account = accounts.setdefault(bytes(request), Account(request=bytes(request).hex(), over=False))
        (account.charges if book == Book.CHARGE else account.costs)[attempt] = int(amount)
    return list(accounts.values())


def read_differences(text: str, provider: str, *, again: bool) -> Sequence[Difference]:
    """What `fastpath reconcile` printed."""
    return [
        Difference(
            provider=provider,
            request=row["request"],
            attempt=int(row["attempt"]),
            verdict=row["verdict"],
            booked=parse_nano(row["booked"]),
            stated=parse_nano(row["stated"]),
            again=again,
        )
        for row in csv.DictReader(io.StringIO(text))
    ]
