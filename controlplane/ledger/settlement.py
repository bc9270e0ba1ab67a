"""Settling the outbox: facts in, books changed; at least once in, exactly once booked.

Owns the batch: what is read, locked and written for many requests in few statements, and what becomes of a request that
cannot be booked. Does not own what facts mean (`fold`). Any number of settlers may run, on the same facts too: a
request is inserted once or locked, and every transaction has an id that can be there only once.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Final

import msgspec
from sqlalchemy import BindParameter, bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.dockets import Docket, sort_facts
from controlplane.ledger.fold import Fold, Kept, Record
from controlplane.ledger.fresh import Known, write_fresh
from controlplane.ledger.journal import write_lines
from controlplane.ledger.plain import Plains
from controlplane.ledger.posting import Numbering, line_of
from controlplane.ledger.quarantine import Poison, add_poison, poison_of
from controlplane.ledger.rules import Policy
from controlplane.ledger.states import OPEN
from controlplane.ledger.tables import ATTEMPTS, REQUESTS
from controlplane.store import bulk
from controlplane.store.bulk import Found, Insert
from controlplane.store.database import Database
from controlplane.store.errors import StoreError
from controlplane.store.metadata import micros
from fastpath.outbox.facts import Fact, Intent, Mark, decode, encode

_log = logging.getLogger("fastpath.ledger")

#: Requests in one transaction: those of a batch of the outbox whose requests have two facts each, so that it takes one
#: commit and not two. Against 2,500 it saves 2 of 18 us a request where a batch has 1,000 keys, whose balances are
#: written once for each; and nobody waits long for the writer's turn.
BATCH: Final = 5_000
TRIES: Final = 3

_REQUEST: Final = itemgetter(0)
_LEVELS: Final = (logging.WARNING, logging.DEBUG)

_COLUMNS: Final = tuple(column.name for column in REQUESTS.c)
_ADD_REQUESTS: Final = Insert(REQUESTS, _COLUMNS, key=("request",), returning=("request",))
_SET_REQUESTS: Final = Insert(REQUESTS, _COLUMNS, key=("request",), replace=_COLUMNS[1:])
_KEPT: Final = tuple(column.name for column in ATTEMPTS.c)
_SET_ATTEMPTS: Final = Insert(ATTEMPTS, _KEPT, key=_KEPT[:2], replace=_KEPT[2:])


class Settled(msgspec.Struct):
    """What a batch came to. `again`: requests that facts said nothing new about."""

    requests: int = 0
    posted: int = 0
    again: int = 0
    quarantined: int = 0

    def add(self, other: "Settled") -> None:
        self.requests += other.requests
        self.posted += other.posted
        self.again += other.again
        self.quarantined += other.quarantined


class Settlement:
    """Settles facts into one database. now: Unix seconds."""

    def __init__(self, database: Database, numbering: Numbering, policy: Policy, now: Callable[[], float]) -> None:
        self._database = database
        self._numbering = numbering
        self._policy = policy
        self._now = now

    async def settle(self, facts: Iterable[Fact]) -> Settled:
        """Books facts. When it returns they are on disk; when it raises, send them all again, by and by.

        Raises Unavailable or Contended; whatever is wrong with a fact puts that fact into quarantine and nothing else.
        """
        dockets, rejected = sort_facts(facts, self._now(), self._policy.late_seconds)
        done = await self._set_aside([poison_of(one.fact, one.reason, 1) for one in rejected])
        for batch in _batches(dockets):
            done.add(await self._book(batch))
        return done

    async def settle_abandoned(self, requests: Collection[bytes]) -> Settled:
        """Settles those of these requests that are open, from what is known, flagged as an estimate.

        For requests whose worker is dead and whose outbox has been read to its end. A later End corrects them.
        """
        done = Settled()
        for batch in _batches({request: Docket(request) for request in requests}):
            done.add(await self._database.run(partial(self._abandon, batch)))
        return done

    async def quarantine(self, data: bytes, reason: str) -> Settled:
        """Sets aside a record of the outbox that is no fact at all."""
        return await self._set_aside([Poison(data, reason, 1)])

    async def open_requests(self, before: float, most: int = 10_000) -> list[bytes]:
        """Requests admitted before this moment (Unix seconds) that are not over, the oldest first."""
        table = REQUESTS.c
        # As literals: SQLite takes no partial index for what it does not know when it plans.
        states: BindParameter[list[int]] = bindparam(
            "states", [int(state) for state in sorted(OPEN)], expanding=True, literal_execute=True
        )
        query = (
            select(table.request)
            .where(table.state.in_(states), table.admitted < micros(before))
            .order_by(table.admitted)
            .limit(most)
        )
        async with self._database.read() as connection:
            return [bytes(row[0]) for row in (await connection.execute(query)).all()]

    async def _book(self, batch: Sequence[Docket]) -> Settled:
        """Plain requests as if nobody knew any of them, and with care whatever else there is, or all if that is not so.

        In two transactions: each takes its requests in order of id and balances behind them, so whoever writes the
        same ones waits, and never in a circle.
        """
        plains = Plains(self._policy, self._numbering, micros(self._now()))
        rest = [docket for docket in batch if not plains.take(docket)]
        done = Settled()
        if plains.count:
            try:
                await self._database.run(partial(write_fresh, plains))
                done = Settled(requests=plains.count, posted=2 * plains.count)
            except StoreError:
                raise
            except Exception as error:  # whatever it is, it shows again where requests can be told apart
                expected = isinstance(error, Known | IntegrityError)
                kind = type(error).__name__
                _log.log(
                    _LEVELS[expected], "%d requests could not be written at once (%s): with care", len(batch), kind
                )
                rest = list(batch)
        if rest:
            done.add(await self._settle(rest))
        return done

    async def _settle(self, batch: Sequence[Docket]) -> Settled:
        """Divides a batch that cannot be written until the one fact that is to blame stands alone."""
        try:
            return await self._database.run(partial(self._write, batch))
        except StoreError:
            raise
        except Exception as error:
            if len(batch) == 1 and len(batch[0].facts()) == 1:
                return await self._insist(batch[0], error)
        done = Settled()
        for part in _divided(batch):
            done.add(await self._settle(part))
        return done

    async def _insist(self, docket: Docket, error: Exception) -> Settled:
        for _ in range(1, TRIES):
            try:
                return await self._database.run(partial(self._write, [docket]))
            except StoreError:
                raise
            except Exception as again:
                error = again
        # Its kind only: a driver's message may quote the row.
        reason = f"could not be booked: {type(getattr(error, 'orig', None) or error).__name__}"
        return await self._set_aside([poison_of(fact, reason, TRIES) for fact in docket.facts()])

    async def _set_aside(self, poison: Sequence[Poison]) -> Settled:
        if not poison:
            return Settled()
        now = micros(self._now())
        return Settled(quarantined=await self._database.run(lambda connection: add_poison(connection, poison, now)))

    async def _write(self, batch: Sequence[Docket], connection: AsyncConnection) -> Settled:
        """Writes all as if nothing was known of any; what the database knew is read and folded into that."""
        now = micros(self._now())
        folds: dict[bytes, Fold] = {}
        for docket in batch:
            folds[docket.request] = self._fold(Record(docket.request), {}, now)
            folds[docket.request].apply(docket)
        rows = [msgspec.structs.astuple(fold.record) for fold in folds.values()]
        fresh = {bytes(row[0]) for row in await _ADD_REQUESTS.run(connection, sorted(rows, key=_REQUEST))}
        known = [docket for docket in batch if docket.request not in fresh]
        if known:
            found = await self._load(connection, [docket.request for docket in known], now)
            for docket in known:
                folds[docket.request] = found[docket.request]
                found[docket.request].apply(docket)
        return await self._store(connection, folds, fresh)

    async def _abandon(self, batch: Sequence[Docket], connection: AsyncConnection) -> Settled:
        folds = await self._load(connection, [docket.request for docket in batch], micros(self._now()))
        for fold in folds.values():
            fold.abandon()
        return await self._store(connection, folds, set())

    def _fold(self, record: Record, kept: dict[int, Kept], now: int) -> Fold:
        return Fold(self._policy, self._numbering, now, record, kept)

    async def _load(self, connection: AsyncConnection, requests: Sequence[bytes], now: int) -> dict[bytes, Fold]:
        """Requests as they are stored, locked, so that what is decided about them stays true until the commit."""
        records = await bulk.select(connection, REQUESTS, "request", requests, lock=True)
        kept: dict[bytes, dict[int, Kept]] = {}
        for row in await bulk.select(connection, ATTEMPTS, "request", requests):
            kept.setdefault(bytes(row.request), {})[row.attempt] = _kept_of(row)
        return {bytes(row.request): self._fold(Record(*row), kept.get(bytes(row.request), {}), now) for row in records}

    async def _store(self, connection: AsyncConnection, folds: dict[bytes, Fold], fresh: set[bytes]) -> Settled:
        changed = {request: fold for request, fold in folds.items() if request in fresh or fold.changed}
        old = [request for request in sorted(changed) if request not in fresh]
        await _SET_REQUESTS.run(connection, [msgspec.structs.astuple(changed[request].record) for request in old])
        await bulk.delete(connection, ATTEMPTS, "request", [request for request in old if changed[request].is_final])
        await _SET_ATTEMPTS.run(connection, [row for request in sorted(changed) for row in _rows_of(changed[request])])
        lines = [line_of(posting) for fold in changed.values() for posting in fold.postings]
        posted = await write_lines(connection, lines)
        return Settled(requests=len(changed), posted=posted, again=len(folds) - len(changed))


def _batches(dockets: dict[bytes, Docket]) -> Iterable[list[Docket]]:
    """Each in order of request id."""
    rest = iter(dockets)
    while batch := list(islice(rest, BATCH)):
        yield [dockets[request] for request in sorted(batch)]


def _divided(batch: Sequence[Docket]) -> Iterable[Sequence[Docket]]:
    """Two halves; of one request, its facts one by one, in their natural order."""
    if len(batch) > 1:
        middle = len(batch) // 2
        return batch[:middle], batch[middle:]
    return [[Docket.of(fact)] for fact in batch[0].facts()]


def _rows_of(fold: Fold) -> Iterable[tuple[object, ...]]:
    """Attempts to write; of a request that is over, none."""
    if fold.is_final:
        return
    for number, kept in sorted(fold.kept.items()):
        if kept.changed:
            intent = None if kept.intent is None else encode(kept.intent)
            mark = None if kept.mark is None else encode(kept.mark)
            yield fold.record.request, number, intent, mark, kept.cost, kept.charge, kept.stated


def _kept_of(row: Found) -> Kept:
    intent = None if row.intent is None else decode(row.intent)
    mark = None if row.mark is None else decode(row.mark)
    return Kept(
        intent if isinstance(intent, Intent) else None,
        mark if isinstance(mark, Mark) else None,
        row.cost,
        row.charge,
        bool(row.stated),
        changed=False,
    )
