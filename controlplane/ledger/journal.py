"""Writing postings: transactions, their entries and the balances they change, each once however often it is asked.

Owns the insertion. Does not own the transaction of the database around it: all of a call commits, or nothing.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.balances import add_postings
from controlplane.ledger.posting import Posting, entries_of
from controlplane.ledger.tables import ENTRIES, TRANSACTIONS
from controlplane.store.bulk import Insert

_COLUMNS: Final = tuple(column.name for column in TRANSACTIONS.c if column.name != "seq")
_ADD_TRANSACTIONS: Final = Insert(TRANSACTIONS, _COLUMNS, key=("id",), returning=("seq", "id"))
_ADD_ENTRIES: Final = Insert(ENTRIES, ("transaction", "account", "amount"))


async def write_postings(connection: AsyncConnection, postings: Sequence[Posting]) -> list[Posting]:
    """Writes those whose id is new and gives them back; the others were written before and change nothing."""
    if not postings:
        return []
    by_id = {posting.id: posting for posting in postings}
    # In order of id: neighbours in its index, which is random otherwise, are written together.
    inserted = await _ADD_TRANSACTIONS.run(connection, [_row_of(by_id[key]) for key in sorted(by_id)])
    written = [(int(row[0]), by_id[bytes(row[1])]) for row in inserted]
    await _ADD_ENTRIES.run(connection, [entry for seq, posting in written for entry in entries_of(seq, posting)])
    fresh = [posting for _, posting in written]
    await add_postings(connection, fresh)
    return fresh


def _row_of(posting: Posting) -> tuple[object, ...]:
    return (
        posting.id,
        int(posting.book),
        int(posting.kind),
        posting.request,
        posting.attempt,
        posting.corrects,
        posting.currency,
        posting.amount,
        posting.claimed,
        posting.posted,
        posting.admitted,
        posting.payer.tenant,
        posting.model,
        posting.endpoint,
        posting.price,
        posting.usage,
        posting.flags,
        posting.reason,
        posting.actor,
    )
