"""At most how much was used and is in no bill: of requests whose end nobody recorded.

Such a request was settled by estimate, from its last Mark or its End without prices. No request is charged more than
was held for it at admission, so what a bill may lack is at most the hold less the charge. Of a request none of whose
records is left nothing is known, and nothing is summed here: those are counted as lost records. Owns the sum.
"""

from typing import Final

import msgspec
from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.states import State
from controlplane.ledger.tables import ATTEMPTS, NO_CURRENCY, REQUESTS
from fastpath.outbox.facts import Fact, Intent, decode

_BATCH: Final = 1_000

#: The state is part of the text: for a parameter SQLite would not take the index of these, and read all requests. One
#: whose Intents are all lost has no attempt.
_ESTIMATED: Final = (
    select(REQUESTS.c.request, ATTEMPTS.c.intent, REQUESTS.c.charged)
    .select_from(REQUESTS.outerjoin(ATTEMPTS, ATTEMPTS.c.request == REQUESTS.c.request))
    .where(REQUESTS.c.state == literal(int(State.ESTIMATED), literal_execute=True))
)


class LostBound(msgspec.Struct, frozen=True):
    """Requests settled by estimate in one currency, and nano-units that their bills may lack at most.

    In `NO_CURRENCY`: those whose Intent is lost, knew no price or held nothing. Nobody can tell what those may lack.
    """

    currency: str
    requests: int
    amount: int


async def bound_lost(connection: AsyncConnection) -> list[LostBound]:
    """In the order of currencies. Reads the requests that were settled by estimate, with what is left of each."""
    held: dict[bytes, tuple[str, int]] = {}
    found = await connection.stream(_ESTIMATED)
    async for rows in found.partitions(_BATCH):
        for row in rows:
            request = bytes(row.request)
            held[request] = max(held.get(request, (NO_CURRENCY, 0)), _held(row.intent, row.charged), key=_most)
    sums: dict[str, tuple[int, int]] = {}
    for currency, amount in held.values():
        requests, before = sums.get(currency, (0, 0))
        sums[currency] = requests + 1, before + amount
    return [LostBound(currency, *sums[currency]) for currency in sorted(sums)]


def _held(intent: bytes | None, charged: int) -> tuple[str, int]:
    fact = None if intent is None else _read(intent)
    if not isinstance(fact, Intent):
        return NO_CURRENCY, 0
    price = fact.charge or fact.price
    currency = fact.currency or ("" if price is None else price.currency)
    if not currency or price is None or fact.reserved == 0:
        return NO_CURRENCY, 0
    return currency, max(0, fact.reserved - charged)


def _read(intent: bytes) -> Fact | None:
    """None for bytes that are no fact: one bad row must not hide the others."""
    try:
        return decode(intent)
    except (ValueError, RecursionError):
        return None


def _most(held: tuple[str, int]) -> tuple[bool, int]:
    return held[0] != NO_CURRENCY, held[1]
