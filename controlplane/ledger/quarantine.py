"""Facts that could not be booked: kept as they came, with what is at stake, until a person has looked.

Owns their rows. Does not own the judgement (`dockets`, `settlement`). A fact is here once, however often it comes.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.tables import NO_CURRENCY, QUARANTINE
from controlplane.store.bulk import Insert
from fastpath.money.price import MOST_NANO
from fastpath.outbox.facts import Fact, Intent, encode

_COLUMNS: Final = tuple(column.name for column in QUARANTINE.c)
_ADD: Final = Insert(QUARANTINE, _COLUMNS, key=("id",), returning=("id",))
_MOST_REASON: Final = 300


class Poison(msgspec.Struct, frozen=True):
    """A fact, or the bytes of what was to be one, and why it is not in the books."""

    data: bytes
    reason: str
    tries: int
    request: bytes = b""
    currency: str = NO_CURRENCY
    amount: int = 0  # nano-units at stake at most


class Stake(msgspec.Struct, frozen=True):
    """What is in quarantine, unresolved, in one currency."""

    currency: str
    facts: int
    amount: int


def poison_of(fact: Fact, reason: str, tries: int) -> Poison:
    """At stake is what an Intent reserved. A Mark or End has no sum of its own: its request stays open, and shows."""
    amount, currency = 0, NO_CURRENCY
    if isinstance(fact, Intent):
        amount = min(max(fact.reserved, 0), MOST_NANO)
        code = fact.currency or (NO_CURRENCY if fact.price is None else fact.price.currency)
        currency = code if len(code) == 3 and code.isascii() and code.isalpha() else NO_CURRENCY
    return Poison(_bytes_of(fact), reason, tries, fact.request, currency, amount)


async def add_poison(connection: AsyncConnection, poison: Iterable[Poison], now: int) -> int:
    """Puts facts into quarantine; how many were not there yet."""
    rows = {_id_of(one.data): one for one in poison}
    values = [
        (key, one.request, one.data, _storable(one.reason), one.tries, one.currency, one.amount, now, None, "", "")
        for key, one in sorted(rows.items())
    ]
    return len(await _ADD.run(connection, values))


async def stakes(connection: AsyncConnection) -> list[Stake]:
    """Unresolved sums by currency: what the books may lack."""
    table = QUARANTINE.c
    query = (
        select(table.currency, func.count(), func.sum(table.amount))
        .where(table.resolved.is_(None))
        .group_by(table.currency)
        .order_by(table.currency)
    )
    return [Stake(row[0], int(row[1]), int(row[2])) for row in (await connection.execute(query)).all()]


async def resolve(connection: AsyncConnection, key: bytes, resolution: str, actor: str, now: int) -> bool:
    """A person has dealt with it. False: there is no such fact, or it was resolved before."""
    changed = await connection.execute(
        update(QUARANTINE)
        .where(QUARANTINE.c.id == key, QUARANTINE.c.resolved.is_(None))
        .values(resolved=now, resolution=resolution, actor=actor)
    )
    return changed.rowcount == 1


def _id_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _bytes_of(fact: Fact) -> bytes:
    """As the outbox has it; what no outbox can hold, in words."""
    try:
        return encode(fact)
    except (UnicodeEncodeError, OverflowError):
        return repr(fact).encode("utf-8", "backslashreplace")


def _storable(reason: str) -> str:
    return reason.replace("\0", " ").encode("utf-8", "replace").decode()[:_MOST_REASON]
