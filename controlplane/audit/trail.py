"""The audit trail: changes and their entries in one transaction, chained so that an edited row is found.

Owns the chain: an entry's hash is SHA-256 over the hash before it and the entry's canonical bytes. Does not own what is
recorded: rooms hand over views, which never hold a secret. The chain tells of an edited, removed or inserted row to
whoever compares the head with one noted elsewhere; against someone who may write to the database it needs that note.
Changes come one after the other: each locks the head first.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import Select, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.access.principal import Actor
from controlplane.audit.tables import AUDIT_ENTRIES, AUDIT_HEAD
from controlplane.store.database import Database
from controlplane.store.metadata import micros

START = bytes(32)
"""The hash before the first entry."""

_BATCH = 1000
_MAKE_HEAD = text("INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, :start) ON CONFLICT (id) DO NOTHING")


class Entry(msgspec.Struct, frozen=True):
    """One change. `before` and `after` hold JSON of the fields that changed; None: it was not there, or is gone."""

    seq: int
    at: int  # microseconds
    actor_id: str
    actor_name: str
    actor_role: str
    action: str
    kind: str
    object_id: str
    tenant_id: str | None
    before: str | None
    after: str | None

    def chain(self, previous: bytes) -> bytes:
        """The hash that this entry has after `previous`."""
        return hashlib.sha256(previous + msgspec.json.encode(msgspec.structs.astuple(self))).digest()


class Subject(msgspec.Struct, frozen=True):
    """What a change was done to."""

    kind: str
    id: str
    tenant: str | None = None


class Verdict(msgspec.Struct, frozen=True):
    """What `verify` found. `head`: hex of the last hash, to be noted elsewhere. `problem`: "" when all is well."""

    entries: int
    head: str
    problem: str = ""
    broken_at: int | None = None  # the first entry that is not as it was written


class Change:
    """A transaction that changes something. Nothing is written without an entry that says so."""

    def __init__(self, connection: AsyncConnection, actor: Actor, at: int, seq: int, head: bytes) -> None:
        self.connection = connection
        self.actor = actor
        self.at = at
        self._seq = seq
        self._head = head

    async def record(self, action: str, subject: Subject, before: Any, after: Any) -> None:
        """Writes an entry. before, after: Structs or dicts of what changed, without secrets; None as in `Entry`."""
        entry = Entry(
            self._seq + 1,
            self.at,
            self.actor.id,
            self.actor.name,
            self.actor.role,
            action,
            subject.kind,
            subject.id,
            subject.tenant,
            _as_json(before),
            _as_json(after),
        )
        self._seq, self._head = entry.seq, entry.chain(self._head)
        row = msgspec.structs.asdict(entry) | {"hash": self._head}
        await self.connection.execute(insert(AUDIT_ENTRIES).values(row))
        await self.connection.execute(update(AUDIT_HEAD).values(seq=self._seq, hash=self._head))


class Trail:
    """Changes to the database, and the record of them. now: Unix seconds."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    @asynccontextmanager
    async def change(self, actor: Actor) -> AsyncIterator[Change]:
        """One transaction: what it changes and its entries are written together or not at all."""
        async with self._database.begin() as connection:
            await connection.execute(_MAKE_HEAD, {"start": START})
            statement = select(AUDIT_HEAD.c.seq, AUDIT_HEAD.c.hash).with_for_update()
            seq, head = (await connection.execute(statement)).one()
            yield Change(connection, actor, micros(self._now()), seq, bytes(head))

    async def entries(self, wanted: "Wanted") -> list[Entry]:
        """Entries, the newest first."""
        async with self._database.read() as connection:
            return [_entry(row) for row in await connection.execute(_find(wanted))]

    async def verify(self) -> Verdict:
        """Walks the whole chain."""
        async with self._database.read() as connection:
            statement = select(AUDIT_HEAD.c.seq, AUDIT_HEAD.c.hash)
            kept = (await connection.execute(statement)).first() or (0, START)
            return await _walk(connection, kept[0], bytes(kept[1]))


class Wanted(msgspec.Struct, frozen=True):
    """Which entries: `before` a sequence number, at most `limit`, of one tenant, object or actor."""

    limit: int
    before: int | None = None
    tenant: str | None = None
    object: str | None = None
    actor: str | None = None


def _find(wanted: Wanted) -> Select[Any]:
    columns = AUDIT_ENTRIES.c
    conditions = [
        (columns.seq < wanted.before) if wanted.before is not None else None,
        (columns.tenant_id == wanted.tenant) if wanted.tenant is not None else None,
        (columns.object_id == wanted.object) if wanted.object is not None else None,
        (columns.actor_id == wanted.actor) if wanted.actor is not None else None,
    ]
    statement = select(AUDIT_ENTRIES).where(*[condition for condition in conditions if condition is not None])
    return statement.order_by(columns.seq.desc()).limit(wanted.limit)


async def _walk(connection: AsyncConnection, last: int, head: bytes) -> Verdict:
    seq, previous = 0, START
    while batch := (await connection.execute(_after(seq))).all():
        for row in batch:
            entry = _entry(row)
            if entry.seq != seq + 1:
                return Verdict(seq, previous.hex(), f"entry {seq + 1} is missing", seq + 1)
            if entry.chain(previous) != bytes(row.hash):
                return Verdict(seq, previous.hex(), f"entry {entry.seq} was edited after it was written", entry.seq)
            seq, previous = entry.seq, bytes(row.hash)
    if (seq, previous) != (last, head):
        return Verdict(seq, previous.hex(), f"{last} entries were written, {seq} are there", min(seq, last) + 1)
    return Verdict(seq, previous.hex())


def _after(seq: int) -> Select[Any]:
    return select(AUDIT_ENTRIES).where(AUDIT_ENTRIES.c.seq > seq).order_by(AUDIT_ENTRIES.c.seq).limit(_BATCH)


def _entry(row: Any) -> Entry:
    return Entry(**{field: getattr(row, field) for field in Entry.__struct_fields__})


def _as_json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value, order="deterministic").decode()
