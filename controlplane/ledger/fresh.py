"""Plain requests that nobody has seen before: each is sent to the database once, as one row, and put there into the
ledger's tables.

Owns their insertion, which neither asks for answers by row nor knows what to do about a row that is there: then it
raises, and the caller undoes the transaction and goes the careful way (`settlement`, `journal`). Does not own the
transaction of the database around it. Measurements: docs/adr/0019-accounts-in-transactions.md.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.balances import add_lines
from controlplane.ledger.plain import Plain
from controlplane.ledger.states import State
from controlplane.ledger.tables import Book, Kind
from controlplane.store.bulk import Relay

_TEXTS: Final = ("tenant", "team", "user", "key", "model", "path", "outcome", "currency", "endpoint", "price", "usage")
_COUNTS: Final = ("admitted", "ended", "reserved", "charge", "cost", "input_tokens", "output_tokens", "posted")

_RELAY: Final = Relay(
    Table(
        "ledger_fresh",
        MetaData(),
        Column("ids", LargeBinary),  # of the request, its charge and its cost: 16 bytes each
        Column("status", Integer),
        *(Column(name, Text) for name in _TEXTS),
        *(Column(name, BigInteger) for name in _COUNTS),
    )
)

# Values that all plain requests share are part of the text. What is NULL is not named.
_ADD_REQUESTS: Final = f"""
INSERT INTO ledger_requests
    (request, state, tenant, team, "user", "key", model, path, admitted, ended, status, outcome, flags, attempts,
     currency, reserved, charged, refunded, input_tokens, output_tokens)
SELECT substr(ids, 1, 16), {int(State.SETTLED)}, tenant, team, "user", "key", model, path, admitted, ended, status,
    outcome, 0, 1, currency, reserved, charge, 0, input_tokens, output_tokens
FROM ledger_fresh WHERE true ON CONFLICT (request) DO NOTHING"""  # noqa: S608

_INTO_TRANSACTIONS: Final = """
INSERT INTO ledger_transactions
    (id, book, kind, request, attempt, currency, amount, posted, admitted, tenant, model, endpoint, price, usage,
     flags, reason, actor, debit, credit)"""

# Accounts as in `posting.accounts_of`.
_CHARGES: Final = f"""
SELECT substr(ids, 17, 16), {int(Book.CHARGE)}, {int(Kind.ORIGINAL)}, substr(ids, 1, 16), 1, currency, charge, posted,
    admitted, tenant, model, endpoint, price, usage, 0, '', '', 'receivable:' || tenant, 'revenue:' || model
FROM ledger_fresh"""  # noqa: S608

_COSTS: Final = f"""
SELECT substr(ids, 33, 16), {int(Book.COST)}, {int(Kind.ORIGINAL)}, substr(ids, 1, 16), 1, currency, cost, posted,
    admitted, tenant, model, endpoint, price, usage, 0, '', '', 'expense:' || endpoint, 'payable:' || endpoint
FROM ledger_fresh"""  # noqa: S608

_OF_NEW: Final = "WHERE substr(ids, 1, 16) IN (SELECT request FROM added)"


class Known(Exception):
    """Something of this was in the books already. What was written must be undone."""


async def write_fresh(connection: AsyncConnection, plains: Sequence[Plain]) -> None:
    """Writes requests, transactions and balances. Raises Known or IntegrityError, and then half of it is written."""
    if not plains:
        return
    # In order of request id: settlers of the same facts wait for each other, and never in a circle.
    rows = sorted([_row_of(plain) for plain in plains])
    if connection.dialect.name == "postgresql":
        added = await _write_postgresql(connection, rows)
    else:
        added = await _write_sqlite(connection, rows)
    if added != len(plains):
        raise Known
    await add_lines(connection, [line for plain in plains for line in (plain.charge, plain.cost)])


def _row_of(plain: Plain) -> tuple[Any, ...]:
    """In the order of the relay's columns, from the columns of the ledger's."""
    row, charge, cost = plain.row, plain.charge, plain.cost
    _, _, tenant, team, user, key, model, path, admitted, ended, status, outcome, _, _, currency, reserved = row[:16]
    _, _, _, _, _, _, _, _, _, posted, _, _, _, endpoint, price, usage, *_ = charge.row
    ids = bytearray(plain.charge.row[3] + charge.id + cost.id)  # type: ignore[operator]  # bytes
    texts = (tenant, team, user, key, model, path, outcome, currency, endpoint, price, usage)
    return (ids, status, *texts, admitted, ended, reserved, charge.amount, cost.amount, row[18], row[19], posted)


async def _write_sqlite(connection: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> int:
    await _RELAY.load(connection, rows)
    added = (await connection.exec_driver_sql(_ADD_REQUESTS)).rowcount
    if added == len(rows):
        for transactions in (_CHARGES, _COSTS):
            await connection.exec_driver_sql(_INTO_TRANSACTIONS + transactions)
    return added


async def _write_postgresql(connection: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> int:
    """In one statement. It waits for the requests before it takes their transactions."""
    text = (
        f"WITH {_RELAY.source(connection)}, added AS ({_ADD_REQUESTS} RETURNING request),"  # noqa: S608
        f" posted AS ({_INTO_TRANSACTIONS} {_CHARGES} {_OF_NEW} UNION ALL {_COSTS} {_OF_NEW})"
        " SELECT count(*) FROM added"
    )
    columns = tuple([list(column) for column in zip(*rows, strict=True)])
    return int((await connection.exec_driver_sql(text, columns)).scalar_one())
