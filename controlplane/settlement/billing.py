"""Everything about money in a control process, opened and closed as one: ledger, settlement service, reports.

Owns the ledger's secret, which follows from the pepper: nodes that share a database share that, too, and a ledger that
was booked under another secret would book what is sent again twice. Does not own any of the parts.
"""

import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from controlplane.ledger.books import Ledger
from controlplane.ledger.posting import SECRET_SIZE
from controlplane.settlement.inbox import Inbox
from controlplane.settlement.plan import Plan
from controlplane.settlement.reports import Reports
from controlplane.settlement.service import Clocks, SettlementService, TakeAlerts
from controlplane.store.database import Database


class Billing(Struct, frozen=True):
    """The parts."""

    ledger: Ledger
    service: SettlementService
    reports: Reports


@asynccontextmanager
async def open_billing(
    database: Database,
    pepper: bytes,
    outbox: Path,
    plan: Plan,
    now: Callable[[], float],
    take_alerts: TakeAlerts | None = None,
) -> AsyncIterator[Billing]:
    """Settles the outbox in the folder `outbox` while the block runs, and drains it at its end. now: Unix seconds.

    take_alerts: keeps the alerts among its records.
    """
    ledger = Ledger(database, ledger_secret(pepper), now=now)
    service = SettlementService(Inbox(outbox), ledger, database, Clocks(now, time.monotonic), plan, take_alerts)
    service.start()
    try:
        yield Billing(ledger, service, Reports(database, now))
    finally:
        await service.close()


def ledger_secret(pepper: bytes) -> bytes:
    """The secret of a deployment's ledger."""
    return hashlib.blake2b(b"ledger", key=pepper, digest_size=SECRET_SIZE, person=b"fastpath").digest()
