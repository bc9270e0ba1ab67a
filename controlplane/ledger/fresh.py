"""Plain requests that nobody has seen before: each is sent to the database once, as one row, and put there into the
ledger's tables.

Owns their insertion, which neither asks for answers by row nor knows what to do about a row that is there: then it
raises, and the caller undoes the transaction and goes the careful way (`settlement`, `journal`). Does not own the
transaction of the database around it. Measurements: docs/adr/0019-accounts-in-transactions.md.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.balances import add_sums
from controlplane.ledger.plain import Plains
from controlplane.ledger.states import State
from controlplane.ledger.tables import Book, Kind
from controlplane.store.bulk import Relay

_TEXTS: Final = ("tenant", "team", "user", "key", "model", "path", "outcome", "currency", "endpoint", "price", "usage")
_COUNTS: Final = ("admitted", "ended", "reserved", "charge", "cost", "input_tokens", "output_tokens", "posted")

RELAY: Final = Relay(
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
_REQUESTS: Final = f"""
INTO ledger_requests
    (request, state, tenant, team, "user", "key", model, path, admitted, ended, status, outcome, flags, attempts,
     currency, reserved, charged, refunded, input_tokens, output_tokens)
SELECT substr(ids, 1, 16), {int(State.SETTLED)}, tenant, team, "user", "key", model, path, admitted, ended, status,
    outcome, 0, 1, currency, reserved, charge, 0, input_tokens, output_tokens
FROM {{source}} WHERE true ON CONFLICT (request) DO NOTHING"""  # noqa: S608

_TRANSACTIONS: Final = """
INTO ledger_transactions
    (id, book, kind, request, attempt, currency, amount, posted, admitted, tenant, model, endpoint, price, usage,
     flags, reason, actor, debit, credit)"""

# Accounts as in `posting.accounts_of`.
_CHARGES: Final = f"""
SELECT substr(ids, 17, 16), {int(Book.CHARGE)}, {int(Kind.ORIGINAL)}, substr(ids, 1, 16), 1, currency, charge, posted,
    admitted, tenant, model, endpoint, price, usage, 0, '', '', 'receivable:' || tenant, 'revenue:' || model
FROM {{source}}"""  # noqa: S608

_COSTS: Final = f"""
SELECT substr(ids, 33, 16), {int(Book.COST)}, {int(Kind.ORIGINAL)}, substr(ids, 1, 16), 1, currency, cost, posted,
    admitted, tenant, model, endpoint, price, usage, 0, '', '', 'expense:' || endpoint, 'payable:' || endpoint
FROM {{source}}"""  # noqa: S608

_OF_NEW: Final = "WHERE substr(ids, 1, 16) IN (SELECT request FROM added)"


class Known(Exception):
    """Something of this was in the books already. What was written must be undone."""


async def write_fresh(plains: Plains, connection: AsyncConnection) -> None:
    """Writes requests, transactions and balances. Raises Known or IntegrityError, and then half of it is written.

    Rows come in order of request id: settlers of the same facts wait for each other, and never in a circle.
    """
    write = _write_postgresql if connection.dialect.name == "postgresql" else _write_sqlite
    if await write(plains, connection) != plains.count:
        raise Known
    await add_sums(connection, plains.sums)


async def _write_sqlite(plains: Plains, connection: AsyncConnection) -> int:
    """OR FAIL, because the whole transaction is undone: SQLite need not copy each page to undo one statement."""
    source = await RELAY.load(connection, plains.values)
    added = (await connection.exec_driver_sql("INSERT" + _REQUESTS.format(source=source))).rowcount
    if added == plains.count:
        for transactions in (_CHARGES, _COSTS):
            text = "INSERT OR FAIL" + _TRANSACTIONS + transactions.format(source=source)
            await connection.exec_driver_sql(text)
    return added


async def _write_postgresql(plains: Plains, connection: AsyncConnection) -> int:
    """In one statement. It waits for the requests before it takes their transactions."""
    name = RELAY.table.name
    charges, costs = (text.format(source=name) for text in (_CHARGES, _COSTS))
    text = (
        f"WITH {RELAY.source(connection)}, added AS (INSERT {_REQUESTS.format(source=name)} RETURNING request),"  # noqa: S608
        f" posted AS (INSERT {_TRANSACTIONS} {charges} {_OF_NEW} UNION ALL {costs} {_OF_NEW})"
        " SELECT count(*) FROM added"
    )
    width = len(RELAY.table.c)
    columns = tuple([plains.values[at::width] for at in range(width)])
    return int((await connection.exec_driver_sql(text, columns)).scalar_one())
