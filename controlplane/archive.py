"""Backup and restore: every table, as it stood at one moment, in one file for both kinds of database.

Owns the file: MessagePack records, each after its length in 4 bytes (a header, batches of rows, a trailer with the
SHA-256 of all before it). A backup is taken while the process serves, in one reading transaction; it holds hashes of
keys and sealed provider keys, so it is for its owner alone (0600), and neither pepper nor master key. A restore fills
an empty database of either kind in one transaction, or leaves it empty.
"""

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from msgspec import Struct
from sqlalchemy import Table, func, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.store import schema
from controlplane.store.database import Database
from controlplane.tables import METADATA

FORMAT: Final = 1
_BATCH: Final = 500
_MOST_RECORD: Final = 1 << 30
_VERSIONS: Final = "alembic_version"


class ArchiveError(Exception):
    """A backup cannot be taken or restored. The message says who must do what."""


class Header(Struct, frozen=True, tag="fastpath backup"):
    """What a backup begins with."""

    format: int
    revision: str
    tables: tuple[str, ...]


class Rows(Struct, frozen=True, tag="rows"):
    """Some rows of one table, as lists in the order of its columns."""

    table: str
    columns: tuple[str, ...]
    rows: list[list[Any]]


class Trailer(Struct, frozen=True, tag="end"):
    """What it ends with."""

    counts: dict[str, int]
    sha256: bytes


Record = Header | Rows | Trailer


async def back_up(database: Database, path: Path) -> dict[str, int]:
    """Writes a backup to a new file; gives the number of rows by table. Raises ArchiveError or StoreError."""
    await schema.check(database)
    draft = path.with_name(f".{path.name}.draft")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ArchiveError(f"{draft} cannot be made ({error.strerror}): remove it, or name another file") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            counts = await _write_all(database, file)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # never over a backup that is there
    except FileExistsError:
        raise ArchiveError(f"{path} is there already: name another file") from None
    finally:
        draft.unlink(missing_ok=True)
    return counts


async def restore(database: Database, path: Path) -> dict[str, int]:
    """Fills an empty database, of the same revision; gives the number of rows by table. Raises ArchiveError."""
    await schema.upgrade(database)
    try:
        file = path.open("rb")
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read ({error.strerror})") from None
    with file:
        check_archive(file)
        file.seek(0)
        async with database.begin() as connection:
            await _prepare(database, connection)
            counts = await _load_all(connection, file)
            await _finish(database, connection)
    return counts


def check_archive(file: BinaryIO) -> Header:
    """Reads a whole backup; its header, when it is complete and as it was written. Raises ArchiveError."""
    records = _read(file)
    header = next(records, None)
    if not isinstance(header, Header) or header.format != FORMAT:
        raise ArchiveError("that is not a backup that this program can read")
    if header.revision != schema.newest():
        raise ArchiveError(
            f"the backup is of revision {header.revision}, this program is at {schema.newest()}: "
            "restore it with the release that made it, then upgrade"
        )
    if header.tables != tuple(table.name for table in METADATA.sorted_tables):
        raise ArchiveError("the backup has other tables than this program: restore it with the release that made it")
    last: Record = header
    for last in records:
        if isinstance(last, Rows) and last.table not in header.tables:
            raise ArchiveError(f"the backup holds rows of no table of its own: {last.table[:64]}")
    if not isinstance(last, Trailer):
        raise ArchiveError("the backup is cut off: take another one")
    return header


async def _write_all(database: Database, file: BinaryIO) -> dict[str, int]:
    writer = _Writer(file)
    tables = METADATA.sorted_tables
    async with database.read() as connection:
        if database.dialect == "postgresql":
            await connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        await _check_tables(connection)
        writer.write(Header(FORMAT, schema.newest(), tuple(_plain(table.name) for table in tables)))
        counts = {_plain(table.name): await _write_table(connection, table, writer) for table in tables}
    writer.write(Trailer(counts, writer.digest()))
    return counts


async def _write_table(connection: AsyncConnection, table: Table, writer: "_Writer") -> int:
    names = tuple(_plain(column.name) for column in table.columns)
    count = 0
    async for batch in _batches(connection, table):
        writer.write(Rows(_plain(table.name), names, batch))
        count += len(batch)
    return count


async def _batches(connection: AsyncConnection, table: Table) -> AsyncIterator[list[list[Any]]]:
    found = await connection.stream(select(table).order_by(*table.primary_key.columns))
    async for part in found.partitions(_BATCH):
        yield [list(row) for row in part]


def _plain(name: str) -> str:
    """A name of SQLAlchemy's, which may be a subclass of str that is not encoded."""
    return str(name)


async def _check_tables(connection: AsyncConnection) -> None:
    """Raises ArchiveError when a table is there that nobody has told of: a backup without it would be a lie."""
    there = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names())) - {_VERSIONS}
    unknown = there ^ set(METADATA.tables)
    if unknown:
        raise ArchiveError(f"the database and this program differ in these tables: {', '.join(sorted(unknown))}")


async def _prepare(database: Database, connection: AsyncConnection) -> None:
    """Raises ArchiveError unless the database is empty. What triggers keep from being changed is only filled here."""
    await _check_tables(connection)
    for table in METADATA.sorted_tables:
        if (await connection.execute(select(func.count()).select_from(table))).scalar_one():
            raise ArchiveError(f"the database is not empty ({table.name}): name a new one")
    if database.dialect == "postgresql":
        await connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        for table in METADATA.sorted_tables:
            await connection.exec_driver_sql(f"ALTER TABLE {table.name} DISABLE TRIGGER USER")


async def _load_all(connection: AsyncConnection, file: BinaryIO) -> dict[str, int]:
    counts = dict.fromkeys((table.name for table in METADATA.sorted_tables), 0)
    for record in _read(file):
        if isinstance(record, Rows):
            table = METADATA.tables[record.table]
            values = [dict(zip(record.columns, row, strict=True)) for row in record.rows]
            await connection.execute(insert(table), values)
            counts[record.table] += len(values)
        elif isinstance(record, Trailer) and record.counts != counts:
            raise ArchiveError("the backup does not hold the rows that it says it does")
    return counts


async def _finish(database: Database, connection: AsyncConnection) -> None:
    """Switches triggers on again, and lets numbers that the database gives out go on from the highest."""
    if database.dialect != "postgresql":
        return
    for table in METADATA.sorted_tables:
        await connection.exec_driver_sql(f"ALTER TABLE {table.name} ENABLE TRIGGER USER")
        counted = table.autoincrement_column
        if counted is not None:
            sequence = func.pg_get_serial_sequence(table.name, counted.name)
            highest = select(func.max(counted)).scalar_subquery()
            await connection.execute(select(func.setval(sequence, func.coalesce(highest, 1), highest.is_not(None))))


class _Writer:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, record: Record) -> None:
        data = msgspec.msgpack.encode(record)
        framed = len(data).to_bytes(4) + data
        self._hash.update(framed)
        self._file.write(framed)

    def digest(self) -> bytes:
        return self._hash.digest()


def _read(file: BinaryIO) -> Iterator[Record]:
    """The records. Raises ArchiveError for one that is not whole, and for a trailer that does not fit."""
    sha = hashlib.sha256()
    while framing := file.read(4):
        size = int.from_bytes(framing)
        data = file.read(size) if size <= _MOST_RECORD else b""
        if len(framing) < 4 or len(data) != size or not size:
            raise ArchiveError("the backup is cut off: take another one")
        try:
            record = msgspec.msgpack.decode(data, type=Record)
        except (ValueError, RecursionError):  # among them DecodeError and UnicodeDecodeError
            raise ArchiveError("that is not a backup, or it was damaged: take another one") from None
        if isinstance(record, Trailer) and record.sha256 != sha.digest():
            raise ArchiveError("the backup was damaged: take another one")
        sha.update(framing + data)
        yield record
        if isinstance(record, Trailer):
            return
