"""Many rows in few statements, on both databases, whatever their number and their names."""

from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Boolean, Column, MetaData, String, Table, Text, event
from sqlalchemy.exc import DBAPIError

from controlplane.store import bulk
from controlplane.store.bulk import Insert, Relay
from controlplane.store.database import Database
from controlplane.store.metadata import Id

TABLE = Table(
    "select",  # a name that needs quotes
    MetaData(),
    Column("user", Id, primary_key=True),
    Column("order", BigInteger, nullable=False),
    Column("text", Text),
    Column("code", String(3), nullable=False),
    Column("flag", Boolean, nullable=False),
)
COLUMNS = ("user", "order", "text", "code", "flag")
ADD = Insert(TABLE, COLUMNS, key=("user",), returning=("user",))


@pytest.fixture
async def table(database: Database) -> Database:
    async with database.begin() as connection:
        await connection.run_sync(TABLE.metadata.create_all)
    return database


def rows(count: int, order: int = 0) -> list[tuple[object, ...]]:
    return [(n.to_bytes(16, "big"), order, None if n % 2 else f"'; {n}", "USD", n % 3 == 0) for n in range(count)]


async def test_what_is_written_is_read(table: Database) -> None:
    async with table.begin() as connection:
        added = await ADD.run(connection, rows(7))
        assert {bytes(row[0]) for row in added} == {row[0] for row in rows(7)}
        found = await bulk.select(connection, TABLE, "user", [row[0] for row in rows(5)], lock=True)
    assert [(bytes(row[0]), *row[1:4], bool(row[4])) for row in found] == rows(5)


async def test_a_row_that_is_there_is_left_replaced_or_added_to(table: Database) -> None:
    replace = Insert(TABLE, COLUMNS, key=("user",), replace=("text",))
    add = Insert(TABLE, COLUMNS, key=("user",), add=("order",))
    async with table.begin() as connection:
        await ADD.run(connection, rows(3, 1))
        assert len(await ADD.run(connection, rows(5, 9))) == 2
        await replace.run(connection, [(row[0], 7, "new", "USD", False) for row in rows(1)])
        await add.run(connection, rows(4, 10))
        found = await bulk.select(connection, TABLE, "user", [n.to_bytes(16, "big") for n in range(5)])
    assert [row[1] for row in found] == [11, 11, 11, 19, 9]
    assert found[0][2] == "new"


@pytest.mark.parametrize("count", [0, 1, 6_553, 6_554, 25_000])
async def test_any_number_of_rows_in_few_statements(table: Database, count: int) -> None:
    statements: list[str] = []
    event.listen(table.engine.sync_engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    async with table.begin() as connection:
        assert len(await ADD.run(connection, rows(count))) == count
        keys = [n.to_bytes(16, "big") for n in range(count)]
        assert len(await bulk.select(connection, TABLE, "user", keys)) == count
        await bulk.delete(connection, TABLE, "user", keys)
        assert await bulk.select(connection, TABLE, "user", keys) == []
    assert len([text for text in statements if text.startswith("INSERT")]) <= count // 6_000 + 1


async def test_a_text_that_does_not_fit_is_refused_and_not_cut(table: Database) -> None:
    if table.dialect == "postgresql":  # SQLite has no lengths
        with pytest.raises(DBAPIError, match="too long"):
            async with table.begin() as connection:
                await ADD.run(connection, [(bytes(16), 1, None, "USDX", False)])


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 1_000, 1_024, 1_025, 2_500])
async def test_a_relay_gives_what_was_loaded_last(tmp_path: Path, count: int) -> None:
    database = await Database.open(f"sqlite:///{tmp_path / 'relay.db'}")
    relay, statements = Relay(TABLE), set()
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *a: statements.add(a[2]))
    async with database.begin() as connection:
        for loaded in (rows(1_030, 3), rows(count)):
            source = await relay.load(connection, [value for row in loaded for value in row])
            found = await connection.exec_driver_sql(f'SELECT * FROM {source} ORDER BY "user"')
            assert [(*row[:4], bool(row[4])) for row in found] == loaded
    assert len([text for text in statements if text.startswith("INSERT")]) <= 3
    async with database.read() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")).scalar_one() == 0
        assert (await connection.exec_driver_sql("PRAGMA temp_store")).scalar_one() == 0, "what is sorted may spill"
    await database.close()
