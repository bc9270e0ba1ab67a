"""Transactions of requests, told apart by their ids, which follow from request, attempt and book.

Owns the search. The caller has locked the requests, so what is found stays true until it commits.
"""

from collections.abc import Sequence
from operator import attrgetter

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.posting import Numbering
from controlplane.ledger.tables import NO_CURRENCY, TRANSACTIONS, Book, Kind
from controlplane.store import bulk

Where = tuple[bytes, int]  # request, attempt


class Original(msgspec.Struct):
    """The first transaction of an attempt in a book, and what became of it."""

    id: bytes
    book: Book
    request: bytes
    attempt: int
    currency: str
    admitted: int
    tenant: str
    model: str
    endpoint: str
    current: int = 0  # with every correction, before refunds
    stated: int = 0  # how often a statement corrected it


async def find_originals(
    connection: AsyncConnection, numbering: Numbering, book: Book, wanted: Sequence[Where]
) -> dict[Where, Original]:
    """Those that exist. Where only a statement knows of an attempt, its first correction stands for the original."""
    name = "cost" if book is Book.COST else "charge"
    ids = {numbering.id_of(request, attempt, name): (request, attempt) for request, attempt in wanted}
    found: dict[Where, Original] = {}
    all_rows = await bulk.select(connection, TRANSACTIONS, "request", {request for request, _ in wanted})
    rows = [row for row in all_rows if bytes(row.id) in ids]
    rows += sorted((row for row in all_rows if row.corrects in ids), key=attrgetter("seq"))
    for row in rows:
        where = (bytes(row.request), row.attempt)
        if where not in found:
            found[where] = Original(
                numbering.id_of(*where, name),
                book,
                *where,
                row.currency,
                row.admitted,
                row.tenant,
                row.model,
                row.endpoint,
            )
        if found[where].currency == NO_CURRENCY:  # it had no price; a statement gave it one
            found[where].currency = row.currency
        if row.kind != Kind.REFUNDED:
            found[where].current += row.amount
        found[where].stated += row.kind == Kind.STATED
    return found
