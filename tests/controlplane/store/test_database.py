"""Opening, transactions, and what a database's refusals mean; F26 and F27 on the real thing."""

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.store.database import Database, Options
from controlplane.store.errors import Contended, StoreError, Unavailable, judge
from tests.controlplane.store.cluster import Cluster

TABLE = "CREATE TABLE thing (id INTEGER PRIMARY KEY, amount BIGINT NOT NULL CHECK (amount >= 0))"


@pytest.fixture
async def things(database: Database) -> Database:
    async with database.begin() as connection:
        await connection.exec_driver_sql(TABLE)
        await connection.exec_driver_sql("INSERT INTO thing VALUES (1, 100), (2, 100)")
    return database


async def amounts(database: Database) -> list[int]:
    async with database.read() as connection:
        rows = await connection.exec_driver_sql("SELECT amount FROM thing ORDER BY id")
        return [row[0] for row in rows]


async def test_a_block_commits_or_leaves_nothing(things: Database) -> None:
    async with things.begin() as connection:
        await connection.exec_driver_sql("UPDATE thing SET amount = 7")

    async def fail() -> None:
        async with things.begin() as connection:
            await connection.exec_driver_sql("UPDATE thing SET amount = 8")
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await amounts(things) == [7, 7]


async def test_a_cancelled_block_leaves_nothing_and_holds_nothing(things: Database) -> None:
    entered = asyncio.Event()

    async def dawdle() -> None:
        async with things.begin() as connection:
            await connection.exec_driver_sql("UPDATE thing SET amount = 8")
            entered.set()
            await asyncio.Event().wait()

    for _ in range(8):  # more than the pool has connections
        task = asyncio.create_task(dawdle())
        await entered.wait()
        entered.clear()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await amounts(things) == [100, 100]


async def test_a_reader_sees_one_moment_and_waits_for_no_writer(things: Database) -> None:
    async with things.read() as reader:
        first = (await reader.exec_driver_sql("SELECT sum(amount) FROM thing")).scalar_one()
        async with things.begin() as writer:
            await writer.exec_driver_sql("UPDATE thing SET amount = 1")
        assert (await reader.exec_driver_sql("SELECT sum(amount) FROM thing")).scalar_one() == first == 200
    assert await amounts(things) == [1, 1]


async def test_many_writers_each_count(things: Database) -> None:
    """More of them than connections; each reads, thinks, and writes what it read."""

    async def add(connection: AsyncConnection) -> None:
        lock = " FOR UPDATE" if things.dialect == "postgresql" else ""
        row = await connection.exec_driver_sql(f"SELECT amount FROM thing WHERE id = 1{lock}")
        amount = row.scalar_one() + 1
        await asyncio.sleep(0)
        await connection.exec_driver_sql(f"UPDATE thing SET amount = {amount} WHERE id = 1")

    await asyncio.gather(*(things.run(add) for _ in range(40)))
    assert await amounts(things) == [140, 100]


async def test_who_wrote_last_writes_next(tmp_path: Path) -> None:
    """Another connection's cache would be made old by it."""
    database = await Database.open(f"sqlite:///{tmp_path / 'kept.db'}")
    async with database.read() as one, database.read() as two, database.read() as three:
        assert len({await driver_of(one), await driver_of(two), await driver_of(three)}) == 3
    writers = set()
    for _ in range(4):
        async with database.begin() as connection:
            writers.add(await driver_of(connection))
            async with database.read() as beside:
                assert await driver_of(beside) not in writers
    assert len(writers) == 1
    await database.close()


async def driver_of(connection: AsyncConnection) -> int:
    return id((await connection.get_raw_connection()).driver_connection)


async def test_another_process_writing_is_waited_for(things: Database, url: str) -> None:
    other = await Database.open(url)

    async def add(database: Database) -> None:
        for _ in range(10):
            async with database.begin() as connection:
                await connection.exec_driver_sql("UPDATE thing SET amount = amount + 1 WHERE id = 1")

    await asyncio.gather(add(things), add(other))
    assert await amounts(things) == [120, 100]
    await other.close()


async def test_a_wrong_statement_is_told_as_it_is(things: Database) -> None:
    with pytest.raises(IntegrityError):
        async with things.begin() as connection:
            await connection.exec_driver_sql("INSERT INTO thing VALUES (1, 1)")
    with pytest.raises(IntegrityError):
        async with things.begin() as connection:
            await connection.exec_driver_sql("INSERT INTO thing VALUES (3, -1)")
    with pytest.raises(DBAPIError):
        async with things.begin() as connection:
            await connection.exec_driver_sql("SELECT nonsense")
    assert await amounts(things) == [100, 100]


async def test_F27_a_deadlock_is_run_anew(things: Database) -> None:
    """F27: two that lock the same rows crosswise both get through."""
    if things.dialect == "sqlite":
        return  # one writer at a time
    both = asyncio.Barrier(2)
    runs = []

    async def move(connection: AsyncConnection, order: tuple[int, int]) -> None:
        runs.append(order)
        await connection.exec_driver_sql(f"UPDATE thing SET amount = amount + 1 WHERE id = {order[0]}")
        if len(runs) <= 2:
            await both.wait()
        await connection.exec_driver_sql(f"UPDATE thing SET amount = amount + 1 WHERE id = {order[1]}")

    await asyncio.gather(*(things.run(lambda c, order=order: move(c, order)) for order in ((1, 2), (2, 1))))
    assert await amounts(things) == [102, 102]
    assert len(runs) >= 3


async def test_F27_a_serialization_failure_is_run_anew(things: Database) -> None:
    if things.dialect == "sqlite":
        return
    both = asyncio.Barrier(2)
    runs = []

    async def add(connection: AsyncConnection) -> None:
        runs.append(1)
        await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        amount = (await connection.exec_driver_sql("SELECT sum(amount) FROM thing")).scalar_one()
        if len(runs) <= 2:
            await both.wait()
        await connection.exec_driver_sql(f"INSERT INTO thing VALUES ({10 + len(runs)}, {int(amount)})")

    await asyncio.gather(things.run(add), things.run(add))
    assert await amounts(things) == [100, 100, 200, 400], "as if one had come after the other"
    assert len(runs) >= 3


async def test_contention_that_does_not_end_is_told(things: Database) -> None:
    tries = []

    async def fail(_: AsyncConnection) -> None:
        tries.append(1)
        raise Contended("planted")

    with pytest.raises(Contended):
        await things.run(fail)
    assert len(tries) == Options().tries


async def test_F26_a_locked_table_or_a_slow_statement_is_given_up(cluster: Cluster) -> None:
    """F26: an admin gets an answer, and the outbox keeps what could not be written."""
    url = cluster.url(cluster.create_database())
    holder = await Database.open(url)
    database = await Database.open(url, Options(statement_seconds=0.3, wait_seconds=0.2))
    async with holder.begin() as connection:
        await connection.exec_driver_sql(TABLE)
    async with holder.begin() as connection:
        await connection.exec_driver_sql("LOCK TABLE thing IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable):
            async with database.begin() as blocked:
                await blocked.exec_driver_sql("INSERT INTO thing VALUES (1, 1)")
    with pytest.raises(Unavailable):
        async with database.read() as connection:
            await connection.exec_driver_sql("SELECT pg_sleep(10)")
    async with database.begin() as connection:
        await connection.exec_driver_sql("INSERT INTO thing VALUES (1, 1)")
    await holder.close()
    await database.close()


async def test_F26_a_pool_in_use_is_given_up(url: str) -> None:
    database = await Database.open(url, Options(pool=1, wait_seconds=0.1))
    async with database.read():
        with pytest.raises(Unavailable, match="every database connection is in use"):
            async with database.read():
                pass
    await database.close()


async def test_F24_a_restarted_server_is_found_again() -> None:
    """F24: while it is gone every call says so; afterwards the same Database goes on."""
    with Cluster() as cluster:
        database = await Database.open(cluster.url(cluster.create_database()))
        await asyncio.to_thread(cluster.kill)
        for _ in range(3):
            with pytest.raises(Unavailable):
                async with database.begin() as connection:
                    await connection.exec_driver_sql("SELECT 1")
        await asyncio.to_thread(cluster.start)
        async with database.begin() as connection:
            assert (await connection.exec_driver_sql("SELECT 1")).scalar_one() == 1
        await database.close()


async def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await Database.open(f"postgresql://fastpath@/fastpath?host={tmp_path}")
    (tmp_path / "text").write_text("this is no database, and long enough to be seen as none" * 20)
    with pytest.raises(Unavailable, match="not a database"):
        await Database.open(f"sqlite:///{tmp_path / 'text'}")
    with pytest.raises(OSError, match="No such file"):
        await Database.open(f"sqlite:///{tmp_path / 'nowhere' / 'test.db'}")


@pytest.mark.parametrize(
    "url", ["", "test.db", "sqlite://", "sqlite:///:memory:", "mysql://host/name", "sqlite+pysqlite:///x"]
)
async def test_an_address_of_no_database_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///FILE"):
        await Database.open(url)


async def test_a_file_is_its_owners_alone_and_every_commit_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    database = await Database.open(f"sqlite:///{path}")
    async with database.begin() as connection:
        await connection.exec_driver_sql(TABLE)
        for file in tmp_path.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with database.read() as connection:
        settings = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers", "busy_timeout")
        }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "recursive_triggers": 1,
        "busy_timeout": 5000,
    }
    await database.close()


def test_errors_never_quote_what_was_to_be_written() -> None:
    error = DBAPIError(
        "INSERT secret", {"a": "secret"}, ConnectionResetError("gone\nDETAIL: secret"), connection_invalidated=True
    )
    meaning = judge(error)
    assert isinstance(meaning, Unavailable)
    assert "secret" not in str(meaning)


def test_each_error_has_one_meaning() -> None:
    assert judge(KeyError("x")) is None
    assert isinstance(judge(TimeoutError()), Unavailable)
    assert isinstance(judge(ConnectionRefusedError("refused")), Unavailable)
    own = Contended("x")
    assert judge(own) is own
    assert issubclass(Unavailable, StoreError)


@pytest.mark.parametrize(("page", "made"), [(16_384, None), (4_096, 4_096)])
async def test_the_log_is_copied_back_by_its_bytes_whatever_pages_a_file_has(
    tmp_path: Path, page: int, made: int | None
) -> None:
    path = tmp_path / "pages.db"
    if made is not None:
        with closing(sqlite3.connect(path)) as older:
            older.execute(f"PRAGMA page_size = {made}")
            older.execute(TABLE)
            older.commit()
    database = await Database.open(f"sqlite:///{path}")
    async with database.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE other (id INTEGER PRIMARY KEY)")
        found = (await connection.exec_driver_sql("PRAGMA page_size")).scalar_one()
        pages = (await connection.exec_driver_sql("PRAGMA wal_autocheckpoint")).scalar_one()
    assert (found, found * pages) == (page, 32 << 20)
    await database.close()
