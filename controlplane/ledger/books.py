"""The ledger as the control process uses it: one object over its parts.

Owns nothing of its own. Any number of tasks and processes may use ledgers over one database.
"""

import time
from collections.abc import Callable

from controlplane.ledger import quarantine
from controlplane.ledger.balances import Balance, Period, Subject, balances_of
from controlplane.ledger.corrections import Corrections
from controlplane.ledger.invariants import Violation, find_violations
from controlplane.ledger.posting import Numbering
from controlplane.ledger.quarantine import Stake
from controlplane.ledger.reconciliation import Reconciler
from controlplane.ledger.rules import Policy
from controlplane.ledger.settlement import Settlement
from controlplane.ledger.unaccounted import LostBound, bound_lost
from controlplane.store.database import Database
from controlplane.store.metadata import micros


class Ledger:
    """`settlement` books facts, `corrections` what people order, `reconciler` what providers state.

    secret: 32 bytes, kept with the state of the deployment and never changed: under another one every fact that is sent
    again would be booked again. now: Unix seconds.
    """

    def __init__(
        self,
        database: Database,
        secret: bytes,
        policy: Policy | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        numbering = Numbering(secret)
        self._database = database
        self._numbering = numbering
        self._now = now
        self.settlement = Settlement(database, numbering, policy or Policy(), now)
        self.corrections = Corrections(database, numbering, now)
        self.reconciler = Reconciler(database, numbering, now)

    async def balances(self, subject: Subject, period: Period) -> list[Balance]:
        """What was charged and what it cost, one Balance for each currency."""
        async with self._database.read() as connection:
            return await balances_of(connection, subject, period)

    async def stakes(self) -> list[Stake]:
        """What is in quarantine, by currency."""
        async with self._database.read() as connection:
            return await quarantine.stakes(connection)

    async def lost_bound(self) -> list[LostBound]:
        """At most how much requests used beyond the estimate they were settled by, by currency."""
        async with self._database.read() as connection:
            return await bound_lost(connection)

    async def resolve(self, key: bytes, resolution: str, actor: str) -> bool:
        """A person has dealt with a fact in quarantine. False: none has this id, or it was resolved before."""
        at = micros(self._now())
        return await self._database.run(lambda c: quarantine.resolve(c, key, resolution, actor, at))

    async def violations(self, *, at_rest: bool = False) -> list[Violation]:
        """What is wrong with the books; at_rest: what is still set aside counts, too."""
        return await find_violations(self._database, self._numbering, at_rest=at_rest)
