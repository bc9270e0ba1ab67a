"""Usage of a control process's tenants, written to its outbox as a worker would."""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from fastpath.outbox.facts import Alert, Fact, Message, Payer, encode
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
    _write(state, facts)
    return [one.hex() for one in ids]


def warn(state: Path, tenant: str) -> None:
    """A budget of the tenant is told to be spent by half."""
    period = int(time.time() // 86_400)
    names = {"scope": "tenant", "owner": (tenant,), "budget": "day", "kind": "tokens", "currency": "USD"}
    shape = {"span": "day", "days": 1, "period": period, "percent": 50, "action": "warn", "spent": 6, "whole": 10}
    _write(state, [Alert(ts=time.time(), tenant=tenant, **names, **shape)])  # type: ignore[arg-type]  # two of a kind


def _write(state: Path, messages: Sequence[Message]) -> None:
    writer = OutboxWriter(state / "outbox", ManualClock(), Options(segment_bytes=1 << 20), thread=False)
    assert all(writer.put(encode(message)) for message in messages)
    writer.close()
