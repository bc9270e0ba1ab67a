"""The load and the kills: callers take request after request, and workers die as the schedule says.

Owns the callers and the killer, who wait for each other: no kill comes late because the load was quick. Concurrency:
one event loop; a task per caller and one for the kills, all awaited.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from loadtest.checker.history import ClientLine
from loadtest.driver.exchange import Caller
from loadtest.ledger.order import Ask, Kill, Order, draw, draw_kills, load_of
from loadtest.ledger.stage import Stage
from scheduler.clock import Clock

LIVING, SETTLED_S = 2, 1.0
"""Workers that must have lived so long (seconds) before one of them is killed: somebody is to serve meanwhile."""
LOOK_S = 0.01
WAIT_S = 30.0


class Killed(msgspec.Struct, frozen=True):
    """A kill that happened (wall clock, seconds)."""

    at: float
    pid: int


class Traffic:
    """One run's load. `lines` and `killed` grow."""

    def __init__(self, stage: Stage, order: Order, clock: Clock) -> None:
        self.lines: list[ClientLine] = []
        self.killed: list[Killed] = []
        self._stage = stage
        self._order = order
        self._clock = clock
        self._loads = {tenant: load_of(order, stage.node.url, key) for tenant, key in stage.keys.items()}
        self._numbers = iter(range(order.n))
        self._begun = 0
        self._seen: dict[int, float] = {}
        self._news = asyncio.Condition()
        self._open = asyncio.Event()
        self._open.set()

    async def run(self) -> None:
        """Sends everything and kills whom it must. Raises RuntimeError when the node does not come back."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._order.callers):
                tasks.create_task(self._call())
            tasks.create_task(self._kill_all())

    async def _call(self) -> None:
        callers = {tenant: Caller(load, self._clock) for tenant, load in self._loads.items()}
        try:
            for ask in self._asks():
                await self._begin()
                self.lines.append(await callers[ask.tenant].call(ask.plan))
        finally:
            for caller in callers.values():
                caller.close()

    def _asks(self) -> Iterator[Ask]:
        load = next(iter(self._loads.values()))
        for number in self._numbers:
            yield draw(self._order, load, number)

    async def _begin(self) -> None:
        await self._open.wait()
        async with self._news:
            self._begun += 1
            self._news.notify_all()

    async def _kill_all(self) -> None:
        for kill in draw_kills(self._order):
            async with self._news:
                await self._news.wait_for(lambda due=kill.at: self._begun >= due)  # type: ignore[misc]  # bound at once
            await self._kill(kill)

    async def _kill(self, kill: Kill) -> None:
        self._open.clear()  # what runs goes on, nothing new begins until somebody can serve it
        workers = await self._wait_living()
        self._open.set()
        await asyncio.sleep(kill.after)
        pid = workers[kill.target % len(workers)]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.killed.append(Killed(self._clock.now(), pid))

    async def _wait_living(self) -> list[int]:
        deadline = self._clock.monotonic() + WAIT_S
        while len(workers := self._settled()) < LIVING:
            if self._clock.monotonic() > deadline:
                raise RuntimeError(f"the node does not come back: {self._stage.node.lines[-5:]}")
            await asyncio.sleep(LOOK_S)
        return workers

    def _settled(self) -> list[int]:
        """Workers that have lived for a while, and so serve."""
        dead = {one.pid for one in self.killed}  # for some milliseconds such a process is still listed
        now, living = self._clock.monotonic(), set(self._stage.workers()) - dead
        self._seen = {pid: self._seen.get(pid, now) for pid in sorted(living)}
        return [pid for pid, since in self._seen.items() if now - since >= SETTLED_S]
