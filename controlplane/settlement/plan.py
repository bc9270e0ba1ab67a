"""Sizes and times of settling. Pure data."""

from typing import Final

from msgspec import Struct

#: Facts of a batch. 10,000 requests of three facts each take 40 writing statements on SQLite and 19 on PostgreSQL, 66
#: and 20 when all of them are open over several batches.
BATCH: Final = 10_000


class Plan(Struct, frozen=True):
    """In facts and seconds."""

    batch: int = BATCH
    linger: float = 1.0  # between looks: how old a fact may get before it is booked, when there are few
    haste: float = 0.2  # instead, until all that was written before this process began is booked: budgets wait for it
    longest_pause: float = 5.0  # between tries while the database is away
    lease: float = 7_200.0  # an open request that no worker here holds is settled by estimate when it is so old
    sweep_every: float = 60.0
    drain: float = 10.0  # for what is left when the process stops
