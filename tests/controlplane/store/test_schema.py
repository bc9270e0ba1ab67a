"""The migrations make the tables that the rooms describe, on both databases, and can be taken back."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

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


_POSTED = """INSERT INTO ledger_transactions (id, book, kind, request, attempt, currency, amount, posted, admitted,
    tenant, model, endpoint, price, usage, flags, reason, actor)
    VALUES ({id}, {book}, {kind}, {id}, 1, 'USD', {amount}, 1, 1, 't', 'm', 'e', '', '', 0, '', '')"""
#: Book, kind, amount, and the accounts that each had as entries.
_OLD = [
    (1, 1, 7, "expense:e", "payable:e"),
    (2, 1, 0, "receivable:t", "revenue:m"),
    (2, 2, -7, "receivable:t", "revenue:m"),
    (2, 5, 7, "refunds:m", "receivable:t"),
    (1, 3, 0, "expense:e", "payable:e"),
    (2, 5, 0, "refunds:m", "receivable:t"),
]
_ENTRIES = 'SELECT "transaction", account, amount FROM ledger_entries ORDER BY 1, 2'


async def _fill_old(database: Database) -> list[tuple[object, ...]]:
    """Books as the release before `0008_accounts` wrote them; its entries."""
    await schema.upgrade(database, "0007_markup")
    postgresql = database.dialect == "postgresql"
    async with database.begin() as connection:
        for number, (book, kind, amount, debit, credit) in enumerate(_OLD, 1):
            key = f"{number:032x}"
            literal = f"decode('{key}', 'hex')" if postgresql else f"x'{key}'"
            await connection.exec_driver_sql(_POSTED.format(id=literal, book=book, kind=kind, amount=amount))
            values = f"({number}, '{debit}', {amount}), ({number}, '{credit}', {-amount})"
            await connection.exec_driver_sql(f"INSERT INTO ledger_entries VALUES {values}")
        return [tuple(row) for row in await connection.exec_driver_sql(_ENTRIES)]


async def test_entries_become_accounts_and_entries_again(database: Database) -> None:
    before = await _fill_old(database)
    for _ in range(2):
        await schema.upgrade(database)
        async with database.begin() as connection:
            assert [tuple(row) for row in await connection.exec_driver_sql(_ENTRIES)] == before
            rows = await connection.exec_driver_sql("SELECT debit, credit FROM ledger_transactions ORDER BY seq")
            assert [tuple(row) for row in rows] == [row[3:] for row in _OLD]
        for act in ("UPDATE ledger_transactions SET debit = 'me'", "DELETE FROM ledger_transactions"):
            with pytest.raises(DBAPIError, match=r"permission denied|can only be added to"):
                async with database.begin() as connection:
                    await connection.exec_driver_sql(act)
        await schema.downgrade(database, "0007_markup")
        async with database.begin() as connection:
            assert [tuple(row) for row in await connection.exec_driver_sql(_ENTRIES)] == before
        for table in ("ledger_transactions", "ledger_entries"):
            with pytest.raises(DBAPIError, match=r"permission denied|can only be added to"):
                async with database.begin() as connection:
                    await connection.exec_driver_sql(f"UPDATE {table} SET amount = 1")


_REQUEST = """INSERT INTO ledger_requests (request, state, tenant, team, "user", "key", model, path, admitted, outcome,
    flags, attempts, currency, reserved, charged, refunded, input_tokens, output_tokens)
    VALUES ({id}, {state}, 't', '', '', '', 'm', '/', {admitted}, '', 0, 1, 'USD', 0, 7, 0, 1, 2)"""
_GUARDED = [
    "UPDATE ledger_requests SET state = 1 WHERE state = 5",
    "DELETE FROM ledger_requests",
    "UPDATE ledger_transactions SET amount = 1",
    "DELETE FROM ledger_transactions",
    "UPDATE ledger_entries SET amount = 1",
    "INSERT INTO ledger_transactions SELECT * FROM ledger_transactions",
]


async def test_requests_are_put_in_order_and_back(database: Database) -> None:
    await _fill_old(database)
    async with database.begin() as connection:
        for number, state in ((3, 5), (1, 1), (2, 6)):  # not in their order
            key = f"{number:032x}"
            literal = f"decode('{key}', 'hex')" if database.dialect == "postgresql" else f"x'{key}'"
            await connection.exec_driver_sql(_REQUEST.format(id=literal, state=state, admitted=number))
    await schema.upgrade(database, "0008_accounts")
    tables = ("ledger_requests ORDER BY request", "ledger_transactions ORDER BY seq", "ledger_entries ORDER BY 1, 2")

    async def read() -> list[list[tuple[object, ...]]]:
        async with database.read() as connection:
            return [[tuple(r) for r in await connection.exec_driver_sql(f"SELECT * FROM {t}")] for t in tables]

    before = await read()
    assert [len(rows) for rows in before] == [3, len(_OLD), 2 * len(_OLD)]
    for revision in ("0009_order", "0008_accounts"):
        await (schema.upgrade if revision == "0009_order" else schema.downgrade)(database, revision)
        assert await read() == before
        for act in _GUARDED:
            with pytest.raises(DBAPIError):
                async with database.begin() as connection:
                    await connection.exec_driver_sql(act)


@pytest.mark.parametrize("planted", ["(1, 'third', 0)", "(99, 'a', 5), (99, 'b', -5)"])
async def test_books_changed_by_hand_are_not_upgraded(database: Database, planted: str) -> None:
    await _fill_old(database)
    async with database.begin() as connection:
        if database.dialect == "postgresql":  # it refuses this at once
            await connection.exec_driver_sql("ALTER TABLE ledger_entries DISABLE TRIGGER USER")
        await connection.exec_driver_sql(f"INSERT INTO ledger_entries VALUES {planted}")
    with pytest.raises(RuntimeError, match="changed by hand"):
        await schema.upgrade(database)
    assert await schema.current(database) == "0007_markup"


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
