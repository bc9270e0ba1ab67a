"""What must be true of the books at any moment, checked from the rows themselves.

J1 conservation: a transaction is between the accounts of its book; its entries, by the definition of their view, are
its amount and that amount taken back; requests and balances say what the transactions say.
J2 each request has one end, and at most one attempt that its tenant pays for. J3 at rest, nothing is set aside.
Besides: nobody else has written a transaction, for its id is a keyed hash. Owns the checks; changes nothing. Reads
everything, at one moment: for audits and tests, not for every minute.
"""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, inspect, literal, not_, or_, select
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.posting import Numbering
from controlplane.ledger.states import OPEN, State
from controlplane.ledger.tables import (
    BALANCES,
    ENTRIES,
    QUARTER_MICROS,
    REQUESTS,
    TRANSACTIONS,
    Book,
    Kind,
    Level,
)
from controlplane.store.database import Database

_MOST: Final = 100  # of each kind: a broken ledger has too many to list

_T, _R, _B = TRANSACTIONS.c, REQUESTS.c, BALANCES.c

#: The view as the migrations define it, and as PostgreSQL, which names columns again, writes that definition. Entries
#: need not be read then: whatever is posted, they sum to zero.
_DEBITS: Final = "SELECT seq AS transaction, debit AS account, amount FROM ledger_transactions UNION ALL"
_CREDITS: Final = (
    "SELECT seq, credit, -amount FROM ledger_transactions",
    "SELECT seq AS transaction, credit AS account, -amount AS amount FROM ledger_transactions",
)


class Violation(msgspec.Struct, frozen=True):
    """`rule`: J1, J2, J3 or "id"; `subject`: a request id, transaction or balance; `detail`: what is wrong with it."""

    rule: str
    subject: str
    detail: str


async def find_violations(database: Database, numbering: Numbering, *, at_rest: bool = False) -> list[Violation]:
    """All there are, at most 100 of a kind. at_rest: no request should be open (J3)."""
    async with database.read() as connection:
        found = [violation async for violation in _check_all(connection, numbering)]
        if at_rest:
            found += await _check_rest(connection)
    return found


async def _check_all(connection: AsyncConnection, numbering: Numbering) -> AsyncIterator[Violation]:
    for rule, query, detail in (
        ("J1", _misplaced(), "its accounts are not those of its book"),
        ("J1", _wrong_requests(), "its transactions do not sum to what it says was charged and refunded"),
        ("J1", _over_refunded(), "more was refunded than charged"),
        ("J2", _unknown_requests(), "a transaction of a request that is not in the books"),
        ("J2", _endless(), "is over and has no end"),
        ("J2", _charged_twice(), "more than one attempt was charged"),
    ):
        for row in (await connection.execute(query.limit(_MOST))).all():
            yield Violation(rule, _name(row[0]), detail)
    if not await connection.run_sync(_is_view):
        yield Violation("J1", ENTRIES.name, "it is not the view that shows each transaction as its two entries")
    for level in Level:
        for violation in await _compare_balances(connection, level):
            yield violation
    async for violation in _forged(connection, numbering):
        yield violation


def _is_view(connection: Connection) -> bool:
    """Whether entries are what transactions say: by the view's definition, which makes them."""
    try:
        found = inspect(connection).get_view_definition(ENTRIES.name) or ""
    except NoSuchTableError:
        return False
    return _plain(found) in {_plain(f"{_DEBITS} {credits}") for credits in _CREDITS}


def _plain(view: str) -> str:
    """SQLite keeps the text of its making; PostgreSQL writes it anew, with or without the table's name at columns."""
    query = re.sub(rf"^CREATE VIEW \"?{ENTRIES.name}\"? AS", "", view)
    return re.sub(rf"\b{TRANSACTIONS.name}\.|[\s\"();]", "", query).lower()


def _name(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _misplaced() -> Select[tuple[object]]:
    """`posting.accounts_of`, said again in SQL."""
    receivable, refunded = literal("receivable:") + _T.tenant, _T.kind == int(Kind.REFUNDED)
    cost = and_(_T.debit == literal("expense:") + _T.endpoint, _T.credit == literal("payable:") + _T.endpoint)
    refund = and_(_T.debit == literal("refunds:") + _T.model, _T.credit == receivable)
    charge = and_(_T.debit == receivable, _T.credit == literal("revenue:") + _T.model)
    rule = case((_T.book == int(Book.COST), cost), (refunded, refund), else_=charge)
    return select(_T.id).where(not_(rule))


def _sum_of(*kinds: Kind) -> ColumnElement[int]:
    wanted = and_(_T.book == int(Book.CHARGE), _T.kind.in_([int(kind) for kind in kinds]))
    return func.coalesce(func.sum(case((wanted, _T.amount), else_=0)), 0)


def _wrong_requests() -> Select[tuple[object]]:
    joined = REQUESTS.outerjoin(TRANSACTIONS, _T.request == _R.request)
    charged = _sum_of(Kind.ORIGINAL, Kind.LATE, Kind.ADJUSTED)
    return (
        select(_R.request)
        .select_from(joined)
        .group_by(_R.request, _R.charged, _R.refunded)
        .having(or_(charged != _R.charged, _sum_of(Kind.REFUNDED) != _R.refunded))
    )


def _over_refunded() -> Select[tuple[object]]:
    return select(_R.request).where(or_(_R.refunded > _R.charged, _R.refunded < 0))


def _unknown_requests() -> Select[tuple[object]]:
    missing = TRANSACTIONS.outerjoin(REQUESTS, _T.request == _R.request)
    return select(_T.id).select_from(missing).where(_R.request.is_(None))


def _endless() -> Select[tuple[object]]:
    final = [int(State.SETTLED), int(State.VOIDED), int(State.ESTIMATED)]
    return select(_R.request).where(_R.state.in_(final), _R.ended.is_(None))


def _charged_twice() -> Select[tuple[object]]:
    """By attempt, with corrections: an estimate that charged the wrong attempt was taken back."""
    net = func.sum(_T.amount)
    attempts = (
        select(_T.request, _T.attempt)
        .where(_T.book == int(Book.CHARGE), _T.kind != int(Kind.REFUNDED))
        .group_by(_T.request, _T.attempt)
        .having(net != 0)
        .subquery()
    )
    return select(attempts.c.request).group_by(attempts.c.request).having(func.count() > 1)


async def _compare_balances(connection: AsyncConnection, level: Level) -> Sequence[Violation]:
    name = (literal(""), _R.team, _R.user, _R.key)[level]
    period = _T.admitted - _T.admitted % QUARTER_MICROS
    signed = case((_T.kind == int(Kind.REFUNDED), -_T.amount), else_=_T.amount)
    charge = func.sum(case((_T.book == int(Book.CHARGE), signed), else_=0))
    cost = func.sum(case((_T.book == int(Book.COST), signed), else_=0))
    keys = (_T.tenant, name.label("name"), _T.currency, period.label("period"))
    query = (
        select(*keys, charge, cost)
        .select_from(TRANSACTIONS.join(REQUESTS, _T.request == _R.request))
        .group_by(*(_T.tenant, name, _T.currency, period))
    )
    booked = {
        tuple(row[:4]): (int(row[4]), int(row[5]))
        for row in (await connection.execute(query)).all()
        if level == 0 or row[1]
    }
    stored = select(_B.tenant, _B.name, _B.currency, _B.quarter * QUARTER_MICROS, _B.charge, _B.cost)
    rows = (await connection.execute(stored.where(_B.level == int(level)))).all()
    kept = {tuple(row[:4]): (int(row[4]), int(row[5])) for row in rows}
    wrong = [key for key in sorted({*booked, *kept}) if booked.get(key, (0, 0)) != kept.get(key, (0, 0))]
    return [
        Violation("J1", f"{level.name.lower()} {key}", "the balance is not what was posted") for key in wrong[:_MOST]
    ]


async def _forged(connection: AsyncConnection, numbering: Numbering) -> AsyncIterator[Violation]:
    names = {
        (Book.COST, Kind.ORIGINAL): "cost",
        (Book.COST, Kind.LATE): "cost.late",
        (Book.CHARGE, Kind.ORIGINAL): "charge",
        (Book.CHARGE, Kind.LATE): "charge.late",
    }
    query = select(_T.id, _T.book, _T.kind, _T.request, _T.attempt).where(_T.kind <= int(Kind.LATE))
    async for row in await connection.stream(query):
        name = names[Book(row.book), Kind(row.kind)]
        if numbering.id_of(bytes(row.request), row.attempt, name) != bytes(row.id):
            yield Violation("id", bytes(row.id).hex(), "this ledger did not write it")


async def _check_rest(connection: AsyncConnection) -> list[Violation]:
    states = [int(state) for state in sorted(OPEN)]
    query = select(_R.request, _R.reserved).where(_R.state.in_(states)).limit(_MOST)
    rows = (await connection.execute(query)).all()
    return [Violation("J3", bytes(row[0]).hex(), f"{row[1]} nano-units are set aside") for row in rows]
