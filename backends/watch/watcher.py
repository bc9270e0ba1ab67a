"""Watches every endpoint it is told of: a probe and a poll each, at their own pace, into the arena.

Owns the tasks, how many questions may be open at once, and the spread of the first ones. Does not own what answers mean
(`probe`, `condition`, `load`) nor who reads the facts. Told anew, it goes on with those that stayed the same. Single
loop; whoever calls `run` owns the tasks.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from _native.arena import Arena
from backends.http.resolver import Resolver
from backends.watch.fetch import Gate
from backends.watch.plan import Watched
from backends.watch.poller import Poller
from backends.watch.prober import Prober
from backends.watch.report import Report, State
from scheduler.clock import Clock

MOST_OPEN: Final = 128
FIRST_PER_SECOND: Final = 500.0

#: (endpoint, "probe" or "poll", result): counted for metrics.
Count = Callable[[str, str, str], None]


class Tools:
    """What every question needs. random: a number in [0, 1); news: called when a report changed.
    egress: the gate."""

    def __init__(
        self,
        arena: Arena,
        resolver: Resolver,
        clock: Clock,
        random: Callable[[], float],
        count: Count,
        news: Callable[[], None],
        egress: Gate,
    ) -> None:
        self.egress = egress
        self.arena = arena
        self.resolver = resolver
        self.clock = clock
        self.random = random
        self.count = count
        self.news = news
        self.open = asyncio.Semaphore(MOST_OPEN)

    async def pause(self, seconds: float) -> None:
        """Waits about so long: a tenth more or less, so that not all ask at once."""
        await asyncio.sleep(seconds * (0.9 + 0.2 * self.random()))


class _Endpoint:
    """One endpoint's questions and the tasks that ask them."""

    def __init__(self, watched: Watched, tools: Tools) -> None:
        self.watched = watched
        self._prober = Prober(watched, watched.probing, tools) if watched.probing is not None else None
        self._poller = Poller(watched, watched.polling, tools) if watched.polling is not None else None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, after: float) -> None:
        for one in (self._prober, self._poller):
            if one is not None:
                self._tasks.append(asyncio.get_running_loop().create_task(one.run(after)))

    @property
    def report(self) -> Report:
        watched, prober = self.watched, self._prober
        problem = self._poller.problem if self._poller is not None else ""
        if prober is None:
            return Report(watched.model, watched.endpoint, State.UNKNOWN, problem=problem)
        condition = prober.condition
        return Report(
            watched.model, watched.endpoint, condition.state, condition.message, condition.since, problem=problem
        )

    async def stop(self, *, for_good: bool) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._prober is not None and for_good:
            self._prober.withdraw()

    def failures(self) -> Iterator[BaseException]:
        """Of tasks that ended by a bug."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                yield error


class Watcher:
    """Keeps an eye on what `use` says. random: a number in [0, 1); report: told of a bug in here."""

    def __init__(self, tools: Tools, report: Callable[[BaseException], None]) -> None:
        self._tools = tools
        self._report = report
        self._endpoints: dict[tuple[str, str], _Endpoint] = {}

    async def use(self, wanted: Iterable[Watched]) -> None:
        """Watches exactly these from now on. Those that changed are asked at once, and are Unknown until they said
        something; what was said of those that are gone is taken back."""
        plan = {(one.model, one.endpoint): one for one in wanted}
        gone = [name for name, endpoint in self._endpoints.items() if plan.get(name) != endpoint.watched]
        stopping = [self._endpoints.pop(name).stop(for_good=name not in plan) for name in gone]
        await asyncio.gather(*stopping)
        new = [name for name in plan if name not in self._endpoints]
        for number, name in enumerate(new):
            endpoint = self._endpoints[name] = _Endpoint(plan[name], self._tools)
            endpoint.start(number / FIRST_PER_SECOND)
        self._tools.news()

    def reports(self) -> list[Report]:
        """How all of them are."""
        return [endpoint.report for endpoint in self._endpoints.values()]

    async def heal(self) -> None:
        """Starts anew whoever stopped by a bug, and tells of it. To be called every few seconds."""
        for name, endpoint in list(self._endpoints.items()):
            errors = list(endpoint.failures())
            if errors and self._endpoints.get(name) is endpoint:
                self._report(errors[0])
                await endpoint.stop(for_good=False)
                fresh = self._endpoints[name] = _Endpoint(endpoint.watched, self._tools)
                fresh.start(1.0)

    async def close(self) -> None:
        """Asks nobody any more. What is known stays, and grows old."""
        await asyncio.gather(*(endpoint.stop(for_good=False) for endpoint in self._endpoints.values()))
        self._endpoints.clear()
