"""Balances: what each tenant, team, user and key was charged and cost, by quarter of an hour of admission.

Kept as summary rows that grow in the transaction that posts, and not computed from entries: seeding the budgets of a
busy month would read every request of it. A batch adds up its own postings first and touches each row once, in order of
key, so writers wait for each other briefly and never in a circle. Owns the rows; `invariants` checks them against the
entries.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.posting import Line
from controlplane.ledger.tables import BALANCES, QUARTER_MICROS, Level
from controlplane.ledger.tally import Tally, tally
from controlplane.store.bulk import Insert

_KEY: Final = ("tenant", "level", "name", "currency", "quarter")
_SUMS: Final = ("charge", "cost", "requests", "input_tokens", "output_tokens")
_ADD: Final = Insert(BALANCES, (*_KEY, *_SUMS), key=_KEY, add=_SUMS)


class Subject(msgspec.Struct, frozen=True):
    """Whose balance: a tenant, or one of its teams, users or keys by `name`."""

    tenant: str
    level: Level = Level.TENANT
    name: str = ""


class Period(msgspec.Struct, frozen=True):
    """From `start` to before `end`, microseconds UTC. Both must be at a quarter of an hour."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.start % QUARTER_MICROS or self.end % QUARTER_MICROS or self.start > self.end:
            raise ValueError("a period begins and ends at a quarter of an hour, and ends after it began")


class Balance(msgspec.Struct, frozen=True):
    """Of one currency. `charge` and `cost` in nano-units, with every correction and refund."""

    currency: str
    charge: int
    cost: int
    requests: int
    input_tokens: int
    output_tokens: int


async def balances_of(connection: AsyncConnection, subject: Subject, period: Period) -> list[Balance]:
    """One Balance for each currency that has any, in order of its code."""
    table = BALANCES.c
    query = (
        select(table.currency, *(func.sum(table[name]) for name in _SUMS))
        .where(table.tenant == subject.tenant, table.level == int(subject.level), table.name == subject.name)
        .where(table.quarter >= period.start // QUARTER_MICROS, table.quarter < period.end // QUARTER_MICROS)
        .group_by(table.currency)
        .order_by(table.currency)
    )
    return [Balance(row[0], *(int(value) for value in row[1:])) for row in (await connection.execute(query)).all()]


async def add_lines(connection: AsyncConnection, lines: Iterable[Line]) -> None:
    """Adds lines to their payers' balances. Each line once: the caller knows which ones are new."""
    await _ADD.run(connection, tally(lines))


async def add_sums(connection: AsyncConnection, sums: Tally) -> None:
    """Adds what was tallied already."""
    await _ADD.run(connection, sums.rows())
