"""What people change about a bill: refunds and adjustments, as new transactions with a reason and an actor.

Owns their bounds: a request is never refunded more than it was charged, and nothing is charged below what was refunded.
The request's row is locked while that is decided, so two who refund at once cannot both be right. Does not own who may
(the API's roles).
"""

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.fold import Record
from controlplane.ledger.journal import write_postings
from controlplane.ledger.originals import Original, find_originals
from controlplane.ledger.posting import Numbering, Posting
from controlplane.ledger.states import OPEN
from controlplane.ledger.tables import REQUESTS, TRANSACTIONS, Book, Flag, Kind
from controlplane.store import bulk
from controlplane.store.database import Database
from controlplane.store.metadata import micros
from fastpath.money.price import MOST_NANO


class LedgerError(Exception):
    """What was asked cannot be done. The message says why, and what can."""


class UnknownRequest(LedgerError):
    """No such request, or it was never charged."""


class Refused(LedgerError):
    """Against the rules of the ledger."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A person's order. `token` is the caller's: the same order sent again is the same order."""

    request: bytes
    token: str
    reason: str
    actor: str


class Refund(Order, frozen=True, kw_only=True):
    """Gives back `amount` nano-units of what was charged; None: all that is left."""

    amount: int | None = None


class Adjustment(Order, frozen=True, kw_only=True):
    """Changes a book by `amount` nano-units, either sign. attempt None: the last one in that book."""

    book: Book
    amount: int
    attempt: int | None = None


class Receipt(msgspec.Struct, frozen=True):
    """`id`: of the transaction. `again`: it was there before, nothing was posted now."""

    id: bytes
    amount: int
    currency: str
    again: bool


class Corrections:
    """Carries out orders on one database. now: Unix seconds."""

    def __init__(self, database: Database, numbering: Numbering, now: Callable[[], float]) -> None:
        self._database = database
        self._numbering = numbering
        self._now = now

    async def refund(self, order: Refund) -> Receipt:
        """Raises UnknownRequest; Refused when it is more than is left, or the token was used for another order."""
        _check(order)
        return await self._database.run(lambda connection: self._refund(connection, order))

    async def adjust(self, order: Adjustment) -> Receipt:
        """Raises UnknownRequest; Refused when a book would fall below zero or below what was refunded."""
        _check(order)
        if order.amount == 0 or abs(order.amount) > MOST_NANO:
            raise Refused("an adjustment changes something, and fits 62 bits")
        return await self._database.run(lambda connection: self._adjust(connection, order))

    async def _refund(self, connection: AsyncConnection, order: Refund) -> Receipt:
        record, originals = await self._lock(connection, order, Book.CHARGE)
        original = originals[-1]
        key = self._numbering.id_of(order.request, original.attempt, f"refund.{order.token}")
        before = await _find(connection, order, key)
        left = record.charged - record.refunded
        if before is not None:
            return _same(before, order.amount, order)
        amount = left if order.amount is None else order.amount
        if not 0 < amount <= left:
            raise Refused(f"{left} nano-units of {original.currency} are left to refund, not {amount}")
        record.refunded += amount
        return await self._post(connection, record, original, order, key, Kind.REFUNDED, amount)

    async def _adjust(self, connection: AsyncConnection, order: Adjustment) -> Receipt:
        record, originals = await self._lock(connection, order, order.book)
        chosen = [one for one in originals if order.attempt in (None, one.attempt)]
        if not chosen:
            raise UnknownRequest(
                f"attempt {order.attempt} of this request is not in the {order.book.name.lower()} book"
            )
        original = chosen[-1]
        key = self._numbering.id_of(order.request, original.attempt, f"adjust.{order.book.name}.{order.token}")
        before = await _find(connection, order, key)
        if before is not None:
            return _same(before, order.amount, order)
        current = record.charged if order.book is Book.CHARGE else original.current
        least = record.refunded if order.book is Book.CHARGE else 0
        if not least <= current + order.amount <= MOST_NANO:
            raise Refused(f"{current} nano-units cannot become {current + order.amount}: at least {least} must stay")
        if order.book is Book.CHARGE:
            record.charged += order.amount
        return await self._post(connection, record, original, order, key, Kind.ADJUSTED, order.amount)

    async def _lock(self, connection: AsyncConnection, order: Order, book: Book) -> tuple[Record, Sequence[Original]]:
        rows = await bulk.select(connection, REQUESTS, "request", [order.request], lock=True)
        if not rows:
            raise UnknownRequest("the ledger has no such request")
        record = Record(*rows[0])
        if record.state in OPEN:
            raise Refused("the request is not over: correct it when it is settled")
        wanted = [(order.request, number) for number in range(1, record.attempts + 1)]
        originals = await find_originals(connection, self._numbering, book, wanted)
        if not originals:
            raise UnknownRequest(f"the request has nothing in the {book.name.lower()} book")
        return record, [originals[key] for key in sorted(originals)]

    async def _post(
        self,
        connection: AsyncConnection,
        record: Record,
        original: Original,
        order: Order,
        key: bytes,
        kind: Kind,
        amount: int,
    ) -> Receipt:
        record.flags |= Flag.CORRECTED
        await connection.execute(
            update(REQUESTS)
            .where(REQUESTS.c.request == order.request)
            .values(charged=record.charged, refunded=record.refunded, flags=record.flags)
        )
        posting = Posting(
            id=key,
            book=original.book,
            kind=kind,
            request=order.request,
            attempt=original.attempt,
            corrects=original.id,
            currency=original.currency,
            amount=amount,
            posted=micros(self._now()),
            admitted=original.admitted,
            payer=record.payer,
            model=original.model,
            endpoint=original.endpoint,
            reason=order.reason,
            actor=order.actor,
        )
        await write_postings(connection, [posting])
        return Receipt(key, amount, original.currency, again=False)


def _check(order: Order) -> None:
    for name, text, most in (("token", order.token, 128), ("reason", order.reason, 1_000), ("actor", order.actor, 200)):
        if not text.strip() or len(text) > most or not text.isprintable():
            raise Refused(f"the {name} must be 1 to {most} printable characters")


async def _find(connection: AsyncConnection, order: Order, key: bytes) -> Receipt | None:
    booked = await bulk.select(connection, TRANSACTIONS, "request", [order.request])
    rows = [row for row in booked if bytes(row.id) == key]
    return Receipt(key, rows[0].amount, rows[0].currency, again=True) if rows else None


def _same(before: Receipt, amount: int | None, order: Order) -> Receipt:
    if amount is not None and amount != before.amount:
        raise Refused(f"the token {order.token!r} was used for {before.amount} nano-units: use a new one")
    return before
