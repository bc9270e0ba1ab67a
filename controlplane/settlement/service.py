"""The service that turns the outbox into ledger entries: read, book, and only after the commit give up.

Owns the loop, what happens when the database is away (nothing is given up, it is tried again), when a record cannot be
booked (quarantine; the others flow), when a worker is gone (its open requests are settled from their last Marks), and
when the process is to stop. Does not own what facts mean (`controlplane.ledger`) nor files (`inbox`). One task;
whatever it does may be done twice, because the ledger books by id.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from controlplane.ledger.books import Ledger
from controlplane.ledger.quarantine import Poison, add_poison, poison_of
from controlplane.ledger.settlement import TRIES, Settled
from controlplane.settlement.figures import Figures
from controlplane.settlement.inbox import Inbox, Load
from controlplane.settlement.losses import Losses
from controlplane.settlement.pace import Pace
from controlplane.settlement.plan import Plan
from controlplane.store.database import Database
from controlplane.store.errors import StoreError
from controlplane.store.metadata import micros
from fastpath.outbox.facts import Alert, Fact
from fastpath.outbox.folder import OutboxError

_log = logging.getLogger("fastpath.settlement")


class Clocks(msgspec.Struct, frozen=True):
    """now: Unix seconds. monotonic: seconds that only pass."""

    now: Callable[[], float]
    monotonic: Callable[[], float]


TakeAlerts = Callable[[Sequence[Alert]], Awaitable[object]]
"""Keeps alerts, which may come again. Raises StoreError."""

CAUGHT_UP: Final = 2
"""Rounds that found nothing more until what was written before this process counts as settled: in the last of them the
ends of dead workers' streams are seen, too."""


class SettlementService:
    """Books what `inbox` gives. `start` and `close` it, or call `step`; not both."""

    def __init__(
        self,
        inbox: Inbox,
        ledger: Ledger,
        database: Database,
        clocks: Clocks,
        plan: Plan | None = None,
        take_alerts: TakeAlerts | None = None,
    ) -> None:
        self._inbox = inbox
        self._ledger = ledger
        self._database = database
        self._clocks = clocks
        self._take_alerts = take_alerts
        self.losses = Losses(ledger, clocks.monotonic)  # as of the last sweep
        self._plan = plan or Plan()
        self._pace = Pace(self._plan.batch, self._plan.linger, self._plan.longest_pause)
        self._load: Load | None = None  # read, and not yet booked
        self._booked = 0  # of its facts
        self._done = Settled()
        self._abandoned = self._failures = 0
        self._is_behind = False
        self._quiet = 0  # rounds that found nothing more to do at once
        self._clear_at = clocks.monotonic()
        self._sweep_at = clocks.monotonic()
        self._problem = ""
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to settle, in a task."""
        self._task = asyncio.create_task(self._run(), name="settlement")

    async def close(self) -> None:
        """Settles what is there and stops, within `drain` seconds. What is left is settled after the next start."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._plan.drain)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._inbox.close()

    @property
    def caught_up(self) -> bool:
        """Whether all that was written before this process began is in the books."""
        return self._quiet >= CAUGHT_UP

    @property
    def unbooked(self) -> int:
        """Records read and not booked yet. More may be unread, see `backlog_bytes`."""
        return len(self._load.facts) - self._booked if self._load is not None else 0

    def figures(self) -> Figures:
        """As of now; asks neither database nor disk."""
        counts, done = self._inbox.counts, self._done
        return Figures(
            backlog_bytes=counts.segment_bytes if self._is_behind else 0,
            segment_bytes=counts.segment_bytes,
            lag_seconds=max(0.0, self._clocks.monotonic() - self._clear_at),
            records=counts.records,
            settled=done.requests,
            posted=done.posted,
            duplicates=done.again,
            abandoned=self._abandoned,
            quarantined=done.quarantined,
            lost=counts.lost,
            damaged=counts.damaged,
            failures=self._failures,
            problem=self._problem,
        )

    async def step(self) -> bool:
        """Reads a batch, books it and gives it up; then what dead workers left. True: there is more to do at once.

        Raises StoreError, OutboxError or OSError: what was not booked or given up is taken up by the next step.
        """
        begun = self._clocks.monotonic()
        load = self._load
        if load is None:
            load = await self._inbox.read(self._plan.batch)
            self._load, self._booked = load, 0
            self._is_behind = load.is_full or bool(load.facts) or bool(load.poison)
        else:
            begun = self._clear_at  # what was read long ago says nothing about now
        await self._book(load)
        self._load = None  # whatever becomes of the cursor: it is said anew with the next batch
        await self._inbox.give_up(load)
        await self._settle_over()
        if load.is_full:
            return True
        self._clear_at = max(begun, self._clear_at)
        self._is_behind = False
        swept = await self._sweep()
        self._quiet += 1
        if swept:
            await self.losses.look()
        return False

    async def _run(self) -> None:
        while not self._stopping.is_set():
            if not await self._try_step():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._pause())
        while await self._try_step():
            pass

    def _pause(self) -> float:
        pause = self._pace.pause
        return pause if self.caught_up or self._problem else min(pause, self._plan.haste)

    async def _try_step(self) -> bool:
        """A step that may fail, by whatever: the loop goes on, and says why it does not get on."""
        try:
            more = await self.step()
        except (StoreError, OutboxError, OSError) as error:
            self._fail(str(error) or type(error).__name__)
            return False
        except Exception as error:
            _log.exception("a batch of the outbox could not be settled by a mistake of ours: it is tried again")
            self._fail(f"an error of the program: {type(error).__name__}")
            return False
        if self._problem:
            _log.warning("usage is settled again")
        self._problem = ""
        return more

    def _fail(self, problem: str) -> None:
        self._failures += 1
        self._pace.failed()
        if problem != self._problem:
            _log.error("usage is not settled now, and nothing of it is lost: %s", problem)
        self._problem = problem

    async def _book(self, load: Load) -> None:
        if load.poison and self._booked == 0:
            self._done.add(await self._set_aside(load.poison))
        while self._booked < len(load.facts):
            end = min(self._booked + self._pace.size, len(load.facts))
            self._done.add(await self._settle(load, self._booked, end))
            self._booked = end
            self._pace.succeeded()
        if self._take_alerts is not None and load.alerts:
            await self._take_alerts(load.alerts)
        self._pace.succeeded()

    async def _settle(self, load: Load, start: int, end: int) -> Settled:
        """The ledger finds what is poison by itself; what makes it stumble is found here, by halves."""
        try:
            return await self._ledger.settlement.settle(load.facts[start:end])
        except StoreError:
            raise
        except Exception as error:
            if end - start == 1:
                return await self._insist(load.facts[start], load.payloads[start], error)
        middle = (start + end) // 2
        done = await self._settle(load, start, middle)
        done.add(await self._settle(load, middle, end))
        return done

    async def _insist(self, fact: Fact, payload: bytes, error: Exception) -> Settled:
        for _ in range(1, TRIES):
            try:
                return await self._ledger.settlement.settle([fact])
            except StoreError:
                raise
            except Exception as again:
                error = again
        return await self._set_aside([_poison_of(fact, payload, error)])

    async def _set_aside(self, poison: Sequence[Poison]) -> Settled:
        now = micros(self._clocks.now())
        count = await self._database.run(lambda connection: add_poison(connection, poison, now))
        if count:
            _log.error("%d more records of the outbox are in quarantine: see GET /admin/v1/settlement", count)
        return Settled(quarantined=count)

    async def _settle_over(self) -> None:
        over = await self._inbox.find_over()
        if not over:
            return
        left = [request for requests in over.values() for request in requests]
        await self._abandon(left)
        await self._inbox.forget(list(over))

    async def _sweep(self) -> bool:
        """What nobody here holds: its worker ran on a machine that is gone, or the file of open requests was lost.

        False: it is not time to look for it.
        """
        if self._clocks.monotonic() < self._sweep_at:
            return False
        old = await self._ledger.settlement.open_requests(self._clocks.now() - self._plan.lease)
        await self._abandon(await self._inbox.without_holder(old))
        self._sweep_at = self._clocks.monotonic() + self._plan.sweep_every
        return True

    async def _abandon(self, requests: Sequence[bytes]) -> None:
        if not requests:
            return
        done = await self._ledger.settlement.settle_abandoned(requests)
        self._abandoned += done.requests
        self._done.add(done)


def _poison_of(fact: Fact, payload: bytes, error: Exception) -> Poison:
    """With what is at stake, if that can be told of a fact that nobody expected; the bytes as they came, if not."""
    reason = f"could not be settled: {type(error).__name__}"  # its kind only: a message may quote what a log must not
    try:
        return poison_of(fact, reason, TRIES)
    except Exception:
        return Poison(payload, reason, TRIES)
