"""Writing postings: transactions and the balances they change, each once however often it is asked.

Owns the insertion of what may be there already. Does not own what is certainly new (`fresh`), nor the transaction of
the database around it: all of a call commits, or nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.balances import add_lines
from controlplane.ledger.posting import Line, Posting, line_of, row_of
from controlplane.ledger.tables import TRANSACTIONS
from controlplane.store.bulk import Insert

_COLUMNS: Final = tuple(column.name for column in TRANSACTIONS.c if column.name != "seq")
_ADD_TRANSACTIONS: Final = Insert(TRANSACTIONS, _COLUMNS, key=("request", "id"), returning=("id",))


async def write_postings(connection: AsyncConnection, postings: Iterable[Posting]) -> int:
    """Writes those whose id is new and says how many; the others were written before and change nothing."""
    return await write_lines(connection, [line_of(posting) for posting in postings])


async def write_lines(connection: AsyncConnection, lines: Sequence[Line]) -> int:
    """As `write_postings`."""
    if not lines:
        return 0
    by_id = {line.id: line for line in lines}
    inserted = await _ADD_TRANSACTIONS.run(connection, [row_of(line) for line in by_id.values()])
    written = [by_id[bytes(row[0])] for row in inserted]
    await add_lines(connection, written)
    return len(written)
