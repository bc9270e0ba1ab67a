"""Many rows in few statements: the one place that knows how each database takes them best.

SQLite gets VALUES of as many rows as its 32,766 parameters allow (2.4 us for a row of 20 columns, as its own
executemany needs, which is a statement for each row). PostgreSQL gets one array for each column, so that a statement's
text, and with it its plan, is the same for any number of rows. SQL text is made of names of tables and columns, never
of values (which is why S608 is wrong here). Stateless.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Row, String, Table, Text
from sqlalchemy.ext.asyncio import AsyncConnection

Values = tuple[Any, ...]
Found = Row[*tuple[Any, ...]]

#: The database in memory that every connection to SQLite has beside the file.
MEMORY: Final = "relay"

_SQLITE_PARAMETERS: Final = 32_766
#: Rows of a statement that fills a relay, the last ones NULL where there are fewer: so there are seven texts, which
#: SQLite reads once (1,001 rows of 21 question marks: 7.2 ms the first time, 4.5 ms again).
_RELAYED: Final = (16, 32, 64, 128, 256, 512, 1_024)
_POSTGRESQL_ROWS: Final = 10_000  # keeps one statement well below its time limit


class Insert(msgspec.Struct, frozen=True):
    """An insertion into `table`. Rows are tuples in the order of `columns`.

    key: columns whose conflict is expected. A row that is there already is left as it is, or gets the columns of
    `replace` from the new row, or has those of `add` added to its own.
    """

    table: Table
    columns: tuple[str, ...]
    key: tuple[str, ...]
    replace: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    returning: tuple[str, ...] = ()

    async def run(self, connection: AsyncConnection, rows: Sequence[Values]) -> list[Found]:
        """Inserts and gives the `returning` columns of the rows that were new or changed, in no order."""
        postgresql = connection.dialect.name == "postgresql"
        size = _POSTGRESQL_ROWS if postgresql else _SQLITE_PARAMETERS // len(self.columns)
        found: list[Found] = []
        for part in _parts(rows, size):
            if postgresql:
                values: Values = tuple([list(column) for column in zip(*part, strict=True)])
            else:
                values = tuple([value for row in part for value in row])
            result = await connection.exec_driver_sql(self._text(connection, len(part)), values)
            if self.returning:
                found.extend(result.all())
        return found

    def _text(self, connection: AsyncConnection, count: int) -> str:
        quote = connection.dialect.identifier_preparer.quote
        into = f"INSERT INTO {quote(self.table.name)} ({', '.join(map(quote, self.columns))})"
        if connection.dialect.name == "postgresql":
            arrays = (
                f"${number}::{_array_of(self.table.c[name], connection)}" for number, name in enumerate(self.columns, 1)
            )
            source = f"SELECT * FROM unnest({', '.join(arrays)})"  # noqa: S608
        else:
            one = f"({', '.join('?' * len(self.columns))})"
            source = f"VALUES {', '.join([one] * count)}"
        return f"{into} {source}{self._conflict(quote)}{self._returned(quote)}"

    def _conflict(self, quote: Any) -> str:
        target = f" ON CONFLICT ({', '.join(map(quote, self.key))})"
        own = quote(self.table.name)
        changes = [f"{quote(name)} = excluded.{quote(name)}" for name in self.replace]
        changes += [f"{quote(name)} = {own}.{quote(name)} + excluded.{quote(name)}" for name in self.add]
        return f"{target} DO UPDATE SET {', '.join(changes)}" if changes else f"{target} DO NOTHING"

    def _returned(self, quote: Any) -> str:
        return f" RETURNING {', '.join(map(quote, self.returning))}" if self.returning else ""


class Relay(msgspec.Struct, frozen=True):
    """Rows that go into several tables at once: sent to the database once, and from there put where they belong.

    table: never made by a migration: on SQLite it lies in a database in memory that is each connection's own
    (`database`), and is empty before every `load`; on PostgreSQL it is the name of arrays within one statement
    (`source`).
    """

    table: Table

    async def load(self, connection: AsyncConnection, values: Sequence[Any]) -> str:
        """SQLite: fills the table and gives what to select its rows from.

        values: of all rows, one behind the other; no row begins with NULL. Bytes come as bytearrays: the driver knows
        those at once, and for each other value looks in vain for an adapter.
        """
        quote = connection.dialect.identifier_preparer.quote
        columns = ", ".join(quote(column.name) for column in self.table.c)
        name = f"{MEMORY}.{quote(self.table.name)}"
        await connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
        await connection.exec_driver_sql(f"DELETE FROM {name}")  # noqa: S608
        width = len(self.table.c)
        one = f"({', '.join('?' * width)})"
        for part in _parts(values, _RELAYED[-1] * width):
            size = next(size for size in _RELAYED if size * width >= len(part))
            text = f"INSERT INTO {name} ({columns}) VALUES {', '.join([one] * size)}"  # noqa: S608
            await connection.exec_driver_sql(text, (*part, *[None] * (size * width - len(part))))
        return f"(SELECT * FROM {name} WHERE {quote(self.table.c[0].name)} IS NOT NULL)"  # noqa: S608

    def source(self, connection: AsyncConnection) -> str:
        """PostgreSQL: a WITH query of the rows, whose parameters are one list for each column, from $1."""
        quote = connection.dialect.identifier_preparer.quote
        arrays = (f"${number}::{_array_of(column, connection)}" for number, column in enumerate(self.table.c, 1))
        columns = ", ".join(quote(column.name) for column in self.table.c)
        return f"{quote(self.table.name)} ({columns}) AS (SELECT * FROM unnest({', '.join(arrays)}))"  # noqa: S608


async def select(
    connection: AsyncConnection, table: Table, column: str, values: Collection[bytes], *, lock: bool = False
) -> list[Found]:
    """Whole rows, columns in the table's order, whose `column` (of type Id) is one of `values`.

    lock: others that want to change them wait until this transaction ends. Rows are locked in the order of `column`,
    so that two who lock many do not wait for each other.
    """
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(column.name) for column in table.c)
    text = f"SELECT {columns} FROM {quote(table.name)} WHERE {quote(column)}"  # noqa: S608
    locking = f" ORDER BY {quote(column)} FOR UPDATE" if lock and connection.dialect.name == "postgresql" else ""
    found: list[Found] = []
    for part in _parts(sorted(values), _SQLITE_PARAMETERS):
        found.extend((await connection.exec_driver_sql(*_among(connection, text, part, locking))).all())
    return found


async def delete(connection: AsyncConnection, table: Table, column: str, values: Collection[bytes]) -> None:
    """Deletes the rows whose `column` is one of `values`."""
    quote = connection.dialect.identifier_preparer.quote
    text = f"DELETE FROM {quote(table.name)} WHERE {quote(column)}"  # noqa: S608
    for part in _parts(sorted(values), _SQLITE_PARAMETERS):
        await connection.exec_driver_sql(*_among(connection, text, part, ""))


def _among(connection: AsyncConnection, text: str, values: Sequence[bytes], end: str) -> tuple[str, Values]:
    if connection.dialect.name == "postgresql":
        return f"{text} = ANY($1::bytea[]){end}", (list(values),)
    return f"{text} IN ({', '.join('?' * len(values))}){end}", tuple(values)


def _parts(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _array_of(column: Column[Any], connection: AsyncConnection) -> str:
    """TEXT for every text: a cast to VARCHAR(3) would cut what does not fit, an assignment refuses it."""
    if isinstance(column.type, String | Text):
        return "TEXT[]"
    return f"{column.type.compile(dialect=connection.dialect)}[]"
