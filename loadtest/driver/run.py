"""Runs a load: so many callers, each taking the next plan until all are drawn.

Owns the callers. Does not interpret what they saw. Concurrency: one event loop; `concurrency` tasks, all awaited.
"""

import asyncio
from collections.abc import Callable, Iterator

from loadtest.checker.history import ClientLine
from loadtest.driver.exchange import Caller
from loadtest.driver.plan import Load, Plan, draw
from scheduler.clock import Clock


async def run(load: Load, clock: Clock, log: Callable[[ClientLine], None] | None = None) -> list[ClientLine]:
    """Sends up to `load.n` requests (none is started after the deadline); returns their lines as they ended.

    `log` receives each line as well. Raises ValueError when the target is not an http URL; what the target does is
    never raised. Ends at the latest `timeout_s` after the deadline.
    """
    lines: list[ClientLine] = []
    plans = _plans(load, clock)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(load.concurrency, load.n)):
            tasks.create_task(_work(Caller(load, clock), plans, (lines.append, *((log,) if log else ()))))
    return lines


def _plans(load: Load, clock: Clock) -> Iterator[Plan]:
    deadline = clock.monotonic() + load.deadline_s
    for number in range(load.n):
        if clock.monotonic() >= deadline:
            return
        yield draw(load, number)


async def _work(caller: Caller, plans: Iterator[Plan], sinks: tuple[Callable[[ClientLine], None], ...]) -> None:
    try:
        for plan in plans:
            line = await caller.call(plan)
            for sink in sinks:
                sink(line)
    finally:
        caller.close()
