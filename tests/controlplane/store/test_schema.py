"""The migrations make the tables that the rooms describe, on both databases, and can be taken back."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import controlplane.ledger.tables
import controlplane.tables
from controlplane.store import schema
from controlplane.store.database import Database
from controlplane.store.errors import Outdated
from controlplane.store.metadata import METADATA

assert controlplane.tables.METADATA is controlplane.ledger.tables.METADATA is METADATA


def _differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA))


async def test_an_empty_database_is_brought_to_what_the_rooms_describe(database: Database) -> None:
    assert await schema.current(database) is None
    with pytest.raises(Outdated, match="no revision"):
        await schema.check(database)
    await schema.upgrade(database)
    await schema.check(database)
    async with database.read() as connection:
        assert await connection.run_sync(_differences) == []


async def test_every_revision_goes_there_and_back(database: Database) -> None:
    revisions = [script.revision for script in ScriptDirectory.from_config(schema._config()).walk_revisions()][::-1]
    assert revisions[:2] == ["0001_identity", "0002_ledger"]
    for revision in revisions:
        await schema.upgrade(database, revision)
        assert await schema.current(database) == revision
    await schema.downgrade(database, "base")
    assert await schema.current(database) is None
    await schema.upgrade(database)
    await schema.check(database)


async def test_a_failed_migration_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("alembic.operations.Operations.create_index", lambda *_a, **_k: fail(None))
    with pytest.raises(RuntimeError):
        await schema.upgrade(database)
    assert await schema.current(database) is None
    monkeypatch.undo()
    await schema.upgrade(database)  # nothing is in its way


async def test_two_who_start_at_once_migrate_once(url: str) -> None:
    opened = [await Database.open(url) for _ in range(2)]
    await asyncio.gather(*(schema.upgrade(database) for database in opened))
    for database in opened:
        await schema.check(database)
        await database.close()
