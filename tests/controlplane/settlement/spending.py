"""Usage of a control process's tenants, written to its outbox as a worker would."""

import secrets
import time
from pathlib import Path

from fastpath.outbox.facts import Fact, Payer, encode
from fastpath.outbox.keeper import Options
from fastpath.outbox.writer import OutboxWriter
from scheduler.clock import ManualClock
from tests.controlplane.ledger.facts import end, intent

PATIENCE = 30.0


def spend(state: Path, payer: Payer, count: int = 1, ts: float | None = None) -> list[str]:
    """Ids of requests that were written to the outbox of a state folder, each of 1000 tokens in and 200 out."""
    at = time.time() if ts is None else ts
    ids = [secrets.token_bytes(16) for _ in range(count)]
    facts: list[Fact] = [intent(one, payer=payer, ts=at) for one in ids]
    facts += [end(one, payer=payer, ts=at) for one in ids]
    writer = OutboxWriter(state / "outbox", ManualClock(), Options(segment_bytes=1 << 20), thread=False)
    assert all(writer.put(encode(fact)) for fact in facts)
    writer.close()
    return [one.hex() for one in ids]
