"""When the watchdog calls a worker stalled, well again, or lost; in virtual time."""

import asyncio
from typing import Any

import pytest

from fastpath.process.watchdog import KILL_AFTER, LOOK_EVERY, STALLED_AFTER, Watchdog
from scheduler.clock import ManualClock


class Worker:
    """Answers when told to."""

    def __init__(self, pid: int = 7) -> None:
        self.pid = pid
        self.ready = True
        self.killed = 0
        self.question: asyncio.Future[Any] | None = None

    def pulse(self) -> "asyncio.Future[Any]":
        if self.question is None or self.question.done():
            self.question = asyncio.get_running_loop().create_future()
        return self.question

    def answer(self) -> None:
        if self.question is not None and not self.question.done():
            self.question.set_result(None)
        self.ready = True

    def kill(self) -> None:
        self.killed += 1


class Watch:
    """A watchdog whose rounds are made by hand."""

    def __init__(self, *workers: Worker) -> None:
        self.clock = ManualClock()
        self.said: list[str] = []
        self.workers = list(workers)
        self._watchdog = Watchdog(self.clock, self.said.append)

    def rounds(self, seconds: float, answering: tuple[Worker, ...] = ()) -> None:
        for _ in range(round(seconds / LOOK_EVERY)):
            self.clock.advance(LOOK_EVERY)
            self._watchdog.look(self.workers)
            for worker in answering:
                worker.answer()


async def test_a_worker_that_answers_stays_ready() -> None:
    worker = Worker()
    watch = Watch(worker)
    watch.rounds(100, answering=(worker,))
    assert (worker.ready, worker.killed, watch.said) == (True, 0, [])


async def test_a_silent_worker_is_not_ready_and_the_others_are() -> None:
    silent, well = Worker(1), Worker(2)
    watch = Watch(silent, well)
    watch.rounds(STALLED_AFTER, answering=(well,))
    assert silent.ready
    watch.rounds(LOOK_EVERY, answering=(well,))
    assert (silent.ready, well.ready) == (False, True)
    assert watch.said == ["worker 1 has not answered for 1.0 s: not ready, the others serve"]


async def test_a_worker_that_answers_again_is_not_killed() -> None:
    worker = Worker()
    watch = Watch(worker)
    watch.rounds(2)
    worker.answer()
    watch.rounds(100, answering=(worker,))
    assert (worker.ready, worker.killed) == (True, 0)
    assert watch.said[1:] == ["worker 7 answers again after 2.0 s"]


async def test_a_worker_that_stays_silent_is_killed() -> None:
    worker = Worker()
    watch = Watch(worker)
    watch.rounds(KILL_AFTER)
    assert worker.killed == 0
    watch.rounds(LOOK_EVERY)
    assert worker.killed == 1
    watch.workers.clear()
    watch.rounds(1)
    assert worker.killed == 1


async def test_a_worker_that_is_starting_is_not_judged() -> None:
    worker = Worker()
    worker.ready = False
    watch = Watch(worker)
    watch.rounds(100)
    assert (worker.killed, watch.said, worker.question) == (0, [], None)


@pytest.mark.parametrize("seconds", [5.0, 3600.0])
async def test_the_watchdogs_own_sleep_is_nobodys_fault(seconds: float) -> None:
    """All processes of the node were stopped together: the workers had no chance to answer."""
    worker = Worker()
    watch = Watch(worker)
    watch.rounds(0.5)
    watch.clock.advance(seconds)
    watch.rounds(LOOK_EVERY)
    assert (worker.ready, worker.killed, watch.said) == (True, 0, [])
    watch.rounds(STALLED_AFTER)
    assert not worker.ready
