"""A database and its transactions: SQLite in a file or PostgreSQL, opened one way.

Owns the engine, its connections' settings and the retry of transactions that were in each other's way. Does not own
tables, nor which statements run. One instance per process, closed by whoever opened it; any number of tasks may use it.
On SQLite, which has one writer, tasks of this process wait for each other in order of arrival, not by polling.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import msgspec
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from controlplane.store.bulk import MEMORY
from controlplane.store.errors import Contended, judge

Dialect = Literal["sqlite", "postgresql"]
T = TypeVar("T")

_DRIVERS: dict[str, tuple[Dialect, str]] = {
    "sqlite": ("sqlite", "sqlite+aiosqlite"),
    "postgresql": ("postgresql", "postgresql+asyncpg"),
    "postgres": ("postgresql", "postgresql+asyncpg"),
}

#: Every connection to SQLite. FULL, because the outbox forgets what a commit has taken over: with NORMAL a power loss
#: could undo a commit that was already acknowledged, and its bills would be in neither place. A commit is one fsync.
#: page_size of a file that is made now: a batch of the ledger is 3 MB at the end of its tables, and each page is two
#: writes into the log and one back. 14.5, 14.9 and 15.3 us of CPU for a request that is settled against 15.9, 15.4 and
#: 16.2 with pages of 4 KiB (100,000 requests, three runs each in turn, a machine with other work).
#: recursive_triggers, or INSERT OR REPLACE would delete from append-only tables past their triggers.
_PRAGMAS = (
    "page_size = 16384",
    "journal_mode = WAL",
    "synchronous = FULL",
    "busy_timeout = 5000",
    "foreign_keys = ON",
    "recursive_triggers = ON",
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "cache_size = -32768",
    "journal_size_limit = 67108864",
)

#: Bytes of the log that are copied back in one go. With the usual 1,000 pages of 4 KiB each batch was copied back at
#: once, and books whose ids were random were settled at half the speed (7,100 against 15,500 requests/s).
_LOG = 32 << 20


class Options(msgspec.Struct, frozen=True):
    """How a database is used."""

    pool: int = 5  # connections at most
    statement_seconds: float = 2.0  # a PostgreSQL statement that takes longer is given up: callers get 503, not a queue
    wait_seconds: float = 2.0  # for a lock or a free connection
    tries: int = 5  # of a transaction that others were in the way of
    pause_seconds: float = 0.02  # before the second try; doubled each time, a random part of it


class Database:
    """An opened database. `dialect` tells the two apart where their SQL must differ."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect, options: Options) -> None:
        self.engine = engine
        self.dialect: Dialect = dialect
        #: Transactions that failed since the start: others were in the way, or the database could not be used.
        self.errors = {"contended": 0, "unavailable": 0}
        self._options = options
        self._reading = engine.execution_options(fastpath_reads=True)
        self._turn: asyncio.Lock | None = asyncio.Lock() if dialect == "sqlite" else None

    @classmethod
    async def open(cls, url: str, options: Options | None = None) -> Self:
        """Opens `sqlite:///FILE` or `postgresql://USER@HOST/NAME`. Raises Unavailable when it does not answer.

        A file is made when there is none, readable by its owner alone. Raises ValueError for any other address.
        """
        options = options or Options()
        target, dialect = _parse(url)
        engine = _open_sqlite(target, options) if dialect == "sqlite" else _open_postgresql(target, options)
        database = cls(engine, dialect, options)
        try:
            async with database.read() as connection:
                await connection.exec_driver_sql("SELECT 1")
        except BaseException:
            await engine.dispose()
            raise
        return database

    async def close(self) -> None:
        await self.engine.dispose()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that writes: commits at the end of the block, rolls back on any exception.

        Raises Contended or Unavailable; other errors of statements (IntegrityError above all) pass as they are.
        """
        async with self._turn or nullcontext(), self._judged(self.engine.begin()) as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that only reads, all of it at one moment. Waits for no writer. Errors as in `begin`."""
        async with self._judged(self._reading.begin()) as connection:
            if self.dialect == "postgresql":
                await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    @asynccontextmanager
    async def _judged(
        self, transaction: AbstractAsyncContextManager[AsyncConnection]
    ) -> AsyncIterator[AsyncConnection]:
        try:
            async with transaction as connection:
                yield connection
        except Exception as error:
            meaning = judge(error)
            if meaning is None or meaning is error:
                raise
            self.errors["contended" if isinstance(meaning, Contended) else "unavailable"] += 1
            raise meaning from error

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Runs `work` in a transaction, anew while others were in its way. `work` must keep nothing from a failed try.

        Raises Contended after the last try, Unavailable at once.
        """
        for tried in range(1, self._options.tries):
            try:
                async with self.begin() as connection:
                    return await work(connection)
            except Contended:
                await asyncio.sleep(self._options.pause_seconds * 2 ** (tried - 1) * random.random())
        async with self.begin() as connection:
            return await work(connection)


def _parse(url: str) -> tuple[URL, Dialect]:
    try:
        target = make_url(url)
    except ArgumentError:
        raise ValueError("the database's address is not a URL: sqlite:///FILE or postgresql://USER@HOST/NAME") from None
    kind = _DRIVERS.get(target.drivername)
    if kind is None:
        raise ValueError(f"no database of kind {target.drivername!r}: sqlite:///FILE or postgresql://USER@HOST/NAME")
    dialect, driver = kind
    if dialect == "sqlite" and target.database in (None, "", ":memory:"):
        raise ValueError("a ledger in memory is lost with its process: name a file, sqlite:///FILE")
    return target.set(drivername=driver), dialect


def _open_sqlite(target: URL, options: Options) -> AsyncEngine:
    _make_private(Path(str(target.database)))
    engine = create_async_engine(
        target,
        pool_size=options.pool,
        max_overflow=0,
        pool_timeout=options.wait_seconds,
        # The one that wrote last writes next: every other one's cache was made old by it, and reads its pages again
        # (settling through the control process: 62 us of CPU a request in turn, 52 so).
        pool_use_lifo=True,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _open_postgresql(target: URL, options: Options) -> AsyncEngine:
    milliseconds = {
        "statement_timeout": options.statement_seconds * 1000,
        "lock_timeout": options.wait_seconds * 1000,
        "idle_in_transaction_session_timeout": 60_000,
    }
    settings = {name: str(round(value)) for name, value in milliseconds.items()}
    return create_async_engine(
        target,
        pool_size=options.pool,
        max_overflow=0,
        pool_timeout=options.wait_seconds,
        pool_pre_ping=True,  # a restarted server costs its first caller a reconnection, not an error
        isolation_level="READ COMMITTED",  # writers lock the rows they decide by; see docs/reference/ledger.md
        connect_args={"timeout": options.wait_seconds, "server_settings": {"application_name": "fastpath", **settings}},
        hide_parameters=True,
    )


def _make_private(path: Path) -> None:
    """The file before SQLite makes it: its log and index get the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _set_pragmas(connection: Any, _: object) -> None:
    connection.isolation_level = None  # `_begin_sqlite` begins, not the driver at the first write
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.execute("PRAGMA page_size")
    (page,) = cursor.fetchone()
    cursor.execute(f"PRAGMA wal_autocheckpoint = {_LOG // page}")
    # For rows on their way into several tables (`bulk.Relay`), and nothing else: what a query sorts goes to a file when
    # there is much of it, and would all be kept in memory with `temp_store`.
    cursor.execute(f"ATTACH ':memory:' AS {MEMORY}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes its turn at once: one that reads first and writes later could not wait, only fail."""
    reads = connection.get_execution_options().get("fastpath_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
