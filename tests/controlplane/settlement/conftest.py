"""Ledgers on both databases, an outbox with a writer that is stepped by hand, and the service between them."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from controlplane.ledger.books import Ledger
from controlplane.settlement.inbox import Inbox
from controlplane.settlement.plan import Plan
from controlplane.settlement.service import Clocks, SettlementService
from controlplane.store.database import Database
from fastpath.outbox.facts import Fact, encode
from fastpath.outbox.keeper import Options
from fastpath.outbox.writer import OutboxWriter
from scheduler.clock import ManualClock
from tests.controlplane.ledger.conftest import cluster, database, ledger, migrated, migrated_file, now, url
from tests.controlplane.ledger.facts import Now

__all__ = ["cluster", "database", "ledger", "migrated", "migrated_file", "now", "url"]

MakeService = Callable[..., SettlementService]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The outbox."""
    return tmp_path / "outbox"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Worker:
    """A writer of this process."""

    def __init__(self, folder: Path, token: int, size: int = 1 << 20) -> None:
        self.writer = OutboxWriter(folder, ManualClock(), Options(segment_bytes=size), token=token, thread=False)

    def put(self, *facts: Fact | bytes) -> None:
        for fact in facts:
            data = fact if isinstance(fact, bytes) else encode(fact)
            if not self.writer.put(data):
                self.writer.step()
                assert self.writer.put(data)

    def end(self) -> None:
        self.writer.close()


@pytest.fixture
def worker(folder: Path) -> Iterator[Worker]:
    made = Worker(folder, 7)
    yield made
    made.end()


@pytest.fixture
async def make_service(
    folder: Path, ledger: Ledger, database: Database, clock: ManualClock, now: Now
) -> AsyncIterator[MakeService]:
    """A service over `folder`; its time is `clock` and `now`."""
    made: list[SettlementService] = []

    def make(plan: Plan | None = None, books: Ledger | None = None) -> SettlementService:
        clocks = Clocks(now, clock.monotonic)
        made.append(SettlementService(Inbox(folder), books or ledger, database, clocks, plan))
        return made[-1]

    yield make
    for service in made:
        await service.close()


class Statements:
    """Counts statements that write."""

    def __init__(self, database: Database) -> None:
        self.writes = 0
        event.listen(database.engine.sync_engine, "before_cursor_execute", self._on_statement)

    def _on_statement(self, _c: object, _u: object, text: str, *_: object) -> None:
        self.writes += text.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))
