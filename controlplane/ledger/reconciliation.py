"""Making cost exact: a provider's statement against the cost book, differences posted once and listed by id.

Owns the comparison. Does not own the text of statements (`statement`). A statement may be sent again, whole or in part,
and by two at once: what it says is compared with the books as they are then, under the lock of each request.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from enum import Enum
from itertools import islice
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.balances import Period
from controlplane.ledger.fold import Record
from controlplane.ledger.journal import write_postings
from controlplane.ledger.originals import Original, Where, find_originals
from controlplane.ledger.posting import Numbering, Posting
from controlplane.ledger.statement import UNSAID, Line
from controlplane.ledger.states import OPEN, State
from controlplane.ledger.tables import ATTEMPTS, NO_CURRENCY, REQUESTS, STATED, TRANSACTIONS, Book, Flag, Kind
from controlplane.ledger.unsaid import list_meant, list_wanted, place_line
from controlplane.store import bulk
from controlplane.store.bulk import Found, Insert
from controlplane.store.database import Database
from controlplane.store.metadata import micros

_BATCH: Final = 2_000
_STATED: Final = tuple(column.name for column in STATED.c)
_SET_STATED: Final = Insert(STATED, _STATED, key=_STATED[:2], replace=_STATED[2:])
_KEPT: Final = tuple(column.name for column in ATTEMPTS.c)
_SET_KEPT: Final = Insert(ATTEMPTS, _KEPT, key=_KEPT[:2], replace=("stated",))


class Verdict(Enum):
    """How a line compares. The first three change the books."""

    CORRECTED = "corrected"  # the provider charged another amount
    UNBILLED = "unbilled"  # we thought that attempt was free
    MISSING = "missing"  # the provider did not charge what we booked
    OPEN = "open"  # the request is not over: send the statement again later
    UNKNOWN_REQUEST = "unknown_request"  # not one of ours
    UNKNOWN_ATTEMPT = "unknown_attempt"  # of one of ours, but never made
    WHICH_ATTEMPT = "which_attempt"  # the line says none, and may mean several: add it, and send it again
    ANOTHER_LINE = "another_line"  # the line says none, and another line names the only one: make one line of the two
    OTHER_PROVIDER = "other_provider"  # the attempt, or every one where the line says none, was made elsewhere
    OTHER_CURRENCY = "other_currency"  # nothing to compare


_UNPLACED: Final = frozenset(
    {Verdict.UNKNOWN_ATTEMPT, Verdict.WHICH_ATTEMPT, Verdict.ANOTHER_LINE, Verdict.OTHER_PROVIDER}
)


class Difference(msgspec.Struct, frozen=True):
    """Nano-units of `currency`. `attempt` 0: the line says none. `transaction`: the one that made the books say it.

    endpoints: where the books have the attempt, or those of the request where the line says none.
    """

    verdict: Verdict
    request: bytes
    attempt: int
    currency: str
    booked: int
    stated: int
    transaction: bytes | None = None
    endpoints: tuple[str, ...] = ()


class Statement(msgspec.Struct, frozen=True):
    """`name`: of the statement, as its provider numbers it. `provider`: the endpoint it is about.

    complete: the period of admission for which it has every line; an attempt without one was not charged then.
    """

    name: str
    provider: str
    lines: Sequence[Line]
    complete: Period | None = None


class Reconciliation(msgspec.Struct):
    """`matched`: lines that said what the books say."""

    matched: int = 0
    differences: list[Difference] = []


class Reconciler:
    """Compares statements with one database's cost book. now: Unix seconds."""

    def __init__(self, database: Database, numbering: Numbering, now: Callable[[], float]) -> None:
        self._database = database
        self._numbering = numbering
        self._now = now

    async def reconcile(self, statement: Statement) -> Reconciliation:
        """After it the cost book says what the statement says, wherever the two can be compared."""
        result = Reconciliation()
        named = {(line.request, line.attempt) for line in statement.lines if line.attempt != UNSAID}
        for batch in _batches(statement.lines):
            await self._compare_in_transaction(statement, batch, named, result)
        if statement.complete is not None:
            left = {one.request for one in result.differences if one.verdict in _UNPLACED}
            absent = await self._find_absent(statement, statement.complete, left)
            for batch in _batches(absent):
                await self._compare_in_transaction(statement, batch, None, result)
        return result

    async def _compare_in_transaction(
        self, statement: Statement, lines: Sequence[Line], named: Set[Where] | None, result: Reconciliation
    ) -> None:
        """named: attempts that lines of the statement say; None: `lines` are what it lacks."""
        found = await self._database.run(lambda connection: self._compare(connection, statement, lines, named))
        result.matched += 0 if named is None else len(lines) - len(found)
        result.differences.extend(found)

    async def _compare(
        self, connection: AsyncConnection, statement: Statement, lines: Sequence[Line], named: Set[Where] | None
    ) -> list[Difference]:
        requests = sorted({line.request for line in lines})
        rows = await bulk.select(connection, REQUESTS, "request", requests, lock=True)
        records = {bytes(row.request): Record(*row) for row in rows}
        originals = await find_originals(connection, self._numbering, Book.COST, list_wanted(lines, records))
        differences: list[Difference] = []
        postings: list[Posting] = []
        accepted: list[Line] = []
        for said in lines:
            record = records.get(said.request)
            meant = list_meant(said, record, originals, statement.provider)
            line = place_line(said, meant, named or set())
            original = originals.get((line.request, line.attempt))
            verdict = _judge(statement, line, record, original, len(meant), missing=named is None)
            posting = None
            if verdict in (Verdict.CORRECTED, Verdict.UNBILLED, Verdict.MISSING):
                posting = self._posting(statement, line, records[line.request], original)
                postings.append(posting)
            if verdict is None or posting is not None:
                accepted.append(line)
            if verdict is not None:
                booked = 0 if original is None else original.current
                key = None if posting is None else posting.id
                where = line.request, line.attempt, line.currency
                places = _endpoints(line, record, originals)
                differences.append(Difference(verdict, *where, booked, line.amount, key, places))
        await self._remember(connection, statement, accepted, records)
        await write_postings(connection, postings)
        return differences

    def _posting(self, statement: Statement, line: Line, record: Record, original: Original | None) -> Posting:
        times = 1 if original is None else original.stated + 1
        return Posting(
            id=self._numbering.id_of(line.request, line.attempt, f"cost.stated.{times}"),
            book=Book.COST,
            kind=Kind.STATED,
            request=line.request,
            attempt=line.attempt,
            corrects=self._numbering.id_of(line.request, line.attempt, "cost"),
            currency=line.currency,
            amount=line.amount - (0 if original is None else original.current),
            posted=micros(self._now()),
            admitted=record.admitted,
            payer=record.payer,
            model=record.model,
            endpoint=statement.provider,
            flags=int(Flag.CORRECTED),
            reason=f"statement {statement.name}",
        )

    async def _remember(
        self, connection: AsyncConnection, statement: Statement, lines: Collection[Line], records: dict[bytes, Record]
    ) -> None:
        """So that an End that comes after its estimate does not overrule what the provider said."""
        now = micros(self._now())
        said = {(line.request, line.attempt): line.amount for line in lines}
        rows = [(*where, statement.name, said[where], now) for where in sorted(said)]
        await _SET_STATED.run(connection, rows)
        guessed = {request for request, _ in said if records[request].state == State.ESTIMATED}
        kept: dict[Where, Found] = {
            (bytes(row.request), row.attempt): row
            for row in await bulk.select(connection, ATTEMPTS, "request", guessed)
        }
        changed = [
            (*where, row.intent, row.mark, row.cost, row.charge, True) for where, row in kept.items() if where in said
        ]
        await _SET_KEPT.run(connection, sorted(changed, key=lambda row: row[:2]))

    async def _find_absent(self, statement: Statement, period: Period, left: Set[bytes]) -> list[Line]:
        """What we booked for this provider in the period and the statement does not name, as lines of nothing.

        left: requests with lines that have no place: one of those may be about any attempt of its request.
        """
        told = {(line.request, line.attempt) for line in statement.lines}
        unsaid = left | {line.request for line in statement.lines if line.attempt == UNSAID}
        table = TRANSACTIONS.c
        query = (
            select(table.request, table.attempt, table.currency)
            .where(table.admitted >= period.start, table.admitted < period.end, table.endpoint == statement.provider)
            .where(table.book == int(Book.COST), table.kind == int(Kind.ORIGINAL), table.currency != NO_CURRENCY)
            .order_by(table.seq)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            Line(bytes(row[0]), row[1], row[2], 0)
            for row in rows
            if (bytes(row[0]), row[1]) not in told and bytes(row[0]) not in unsaid
        ]


def _judge(
    statement: Statement, line: Line, record: Record | None, original: Original | None, meant: int, *, missing: bool
) -> Verdict | None:
    """None: the books say what the line says. meant: how many attempts the line may be about."""
    if record is None:
        return Verdict.UNKNOWN_REQUEST
    if record.state in OPEN:
        return Verdict.OPEN
    if line.attempt == UNSAID:
        return _judge_unsaid(record, meant)
    if not 1 <= line.attempt <= record.attempts:
        return Verdict.UNKNOWN_ATTEMPT
    if original is not None and original.endpoint != statement.provider:
        return Verdict.OTHER_PROVIDER
    if original is None or original.currency == NO_CURRENCY:
        return Verdict.UNBILLED if line.amount else None
    if original.currency != line.currency:
        return Verdict.OTHER_CURRENCY
    if original.current == line.amount:
        return None
    return Verdict.MISSING if missing else Verdict.CORRECTED


def _judge_unsaid(record: Record, meant: int) -> Verdict:
    """Of a line that got no place. meant: as for `_judge`."""
    if meant:
        return Verdict.ANOTHER_LINE if meant == 1 else Verdict.WHICH_ATTEMPT
    return Verdict.OTHER_PROVIDER if record.attempts else Verdict.UNKNOWN_ATTEMPT


def _endpoints(line: Line, record: Record | None, originals: Mapping[Where, Original]) -> tuple[str, ...]:
    if record is None:
        return ()
    attempts = range(1, record.attempts + 1) if line.attempt == UNSAID else (line.attempt,)
    found = [originals.get((line.request, attempt)) for attempt in attempts]
    return tuple(sorted({original.endpoint for original in found if original is not None}))


def _batches(lines: Iterable[Line]) -> Iterable[list[Line]]:
    rest = iter(lines)
    while batch := list(islice(rest, _BATCH)):
        yield batch
