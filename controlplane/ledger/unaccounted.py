"""At most how much was used and is in no bill: of requests whose end nobody recorded.

Such a request was settled by estimate, from its last Mark or its End without prices. No request is charged more than
was held for it at admission, so what a bill may lack is at most the hold less the charge. Of a request none of whose
records is left nothing is known, and nothing is summed here: those are counted as lost records. Owns the sum.
"""

from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger.states import State
from controlplane.ledger.tables import ATTEMPTS, NO_CURRENCY, REQUESTS
from fastpath.outbox.facts import Intent, decode

_BATCH: Final = 1_000


class LostBound(msgspec.Struct, frozen=True):
    """Requests settled by estimate in one currency, and nano-units that their bills may lack at most.

    In `NO_CURRENCY`: those whose Intent is lost, knew no price or held nothing. Nobody can tell what those may lack.
    """

    currency: str
    requests: int
    amount: int


async def bound_lost(connection: AsyncConnection) -> list[LostBound]:
    """In the order of currencies. Reads the attempts that are kept: of open requests, and of those estimated."""
    held: dict[bytes, tuple[str, int]] = {}
    query = (
        select(ATTEMPTS.c.request, ATTEMPTS.c.intent, REQUESTS.c.charged)
        .join(REQUESTS, REQUESTS.c.request == ATTEMPTS.c.request)
        .where(REQUESTS.c.state == int(State.ESTIMATED))
    )
    found = await connection.stream(query)
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
    fact = None if intent is None else decode(intent)
    if not isinstance(fact, Intent):
        return NO_CURRENCY, 0
    price = fact.charge or fact.price
    currency = fact.currency or ("" if price is None else price.currency)
    if not currency or price is None or fact.reserved == 0:
        return NO_CURRENCY, 0
    return currency, max(0, fact.reserved - charged)


def _most(held: tuple[str, int]) -> tuple[bool, int]:
    return held[0] != NO_CURRENCY, held[1]
