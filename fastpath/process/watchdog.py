"""Notices workers that have stopped answering: their loop is stuck, or the process is stopped.

Owns: how long each worker has owed an answer, and what follows. After `STALLED_AFTER` a worker counts as not ready (it
still holds its connections; new ones are taken by the others, because all accept from one socket). When it answers it
is ready again, without a restart; after `KILL_AFTER` it is killed, and the fleet replaces it. Does not: start workers,
or judge one that has yet to become ready. Concurrency: the supervisor's loop; a look never waits.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from scheduler.clock import Clock

LOOK_EVERY: Final = 0.25  # seconds
STALLED_AFTER: Final = 1.0
KILL_AFTER: Final = 30.0


class Watched(Protocol):
    """A worker, as far as the watchdog is concerned. A worker that answers sets its own `ready`."""

    pid: int
    ready: bool

    def pulse(self) -> "asyncio.Future[Any]":
        """The question that is open, or a new one; done when answered or when the worker is gone."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


class _Owed:
    """One worker's open question."""

    __slots__ = ("question", "since", "stalled")

    def __init__(self, question: "asyncio.Future[Any]", since: float) -> None:
        self.question = question
        self.since = since
        self.stalled = False


class Watchdog:
    """Looks at workers; `say` prints a line for the operator."""

    def __init__(self, clock: Clock, say: Callable[[str], None]) -> None:
        self._clock = clock
        self._say = say
        self._owed: dict[int, _Owed] = {}
        self._looked = clock.monotonic()

    async def watch(self, workers: Callable[[], Iterable[Watched]]) -> None:
        """Looks at whoever is there, for ever."""
        while True:
            self.look(workers())
            await asyncio.sleep(LOOK_EVERY)

    def look(self, workers: Iterable[Watched]) -> None:
        """One round over the workers alive."""
        now = self._clock.monotonic()
        asleep = now - self._looked - LOOK_EVERY
        self._looked = now
        alive = {worker.pid: worker for worker in workers}
        self._owed = {pid: owed for pid, owed in self._owed.items() if pid in alive}
        for worker in alive.values():
            self._judge(worker, now, asleep if asleep > LOOK_EVERY else 0.0)

    def _judge(self, worker: Watched, now: float, asleep: float) -> None:
        owed = self._owed.get(worker.pid)
        if owed is None or owed.question.done():
            if owed is not None and owed.stalled:
                self._say(f"worker {worker.pid} answers again after {now - owed.since:.1f} s")
            self._owed.pop(worker.pid, None)
            if worker.ready:
                self._owed[worker.pid] = _Owed(worker.pulse(), now)
            return
        owed.since += asleep  # while we ourselves stood still nobody could answer us
        self._judge_silence(worker, owed, now - owed.since)

    def _judge_silence(self, worker: Watched, owed: _Owed, seconds: float) -> None:
        if seconds >= STALLED_AFTER and not owed.stalled:
            owed.stalled = True
            worker.ready = False
            self._say(f"worker {worker.pid} has not answered for {seconds:.1f} s: not ready, the others serve")
        if seconds >= KILL_AFTER:
            self._say(f"worker {worker.pid} has not answered for {seconds:.0f} s: killed")
            worker.kill()
