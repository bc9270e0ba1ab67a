"""What all requests of one worker share: passed down from the composition root, reached for by nobody."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from _native.clock import Clock
from _native.ids import RequestIds
from fastpath.observe.budget import MemoryBudget
from fastpath.observe.health import HealthNotes
from fastpath.observe.metrics import Metrics
from fastpath.observe.series import RequestSeries
from fastpath.running import Running
from scheduler.endpoint import EndpointTable
from scheduler.health import Health
from scheduler.retry import RetryBudget

if TYPE_CHECKING:
    from fastpath.account.books import Books
    from fastpath.explain.recorder import Recorder
    from fastpath.idempotency.store import Store
    from fastpath.poison.marks import Marks
    from fastpath.record import DecisionRecord
    from fastpath.relay.delivery import Delivery
    from fastpath.snapshot import Snapshot


class Records(Protocol):
    """Takes finished records; never blocks."""

    def put(self, record: "DecisionRecord") -> None: ...


class Runtime:
    """One worker's loop, clocks, counters and live tables."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        metrics: Metrics,
        records: Records,
        budget: MemoryBudget,
        table: EndpointTable,
        retries: RetryBudget,
        random: Callable[[], float],
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.metrics = metrics
        self.records = records
        self.budget = budget
        self.table = table
        self.load = table.load
        self.retries = retries
        self.random = random
        self.series = RequestSeries(metrics)
        notes = HealthNotes(metrics)
        self.health = Health(table, notes.changed, notes.slowed, notes.panicked)
        self.ids = RequestIds(clock)
        self.deliveries: set[Delivery] = set()
        self.running: dict[str, Running] = {}  # by model
        self.draining = False
        self.idempotency: Store | None = None  # None: idempotency keys mean nothing here
        self.degraded = False  # something is wrong on this node while traffic goes on
        self.books: Books | None = None  # None: there is no ledger to tell
        self.decisions: Recorder | None = None  # None: no records of decisions are kept
        self.marks: Marks | None = None  # None: nobody would read them, were this process to die
        self.present: Snapshot | None = None  # by which new requests are decided; None: before the first

    def enter(self, model: str) -> Running:
        """Counts a request of this model (as routes are named); whoever ends it counts it down."""
        running = self.running.get(model)
        if running is None:
            running = self.running[model] = Running()
        running.count += 1
        return running
