"""Watches every endpoint it is told of: a probe and a poll each, at their own pace, into the arena.

Owns the plan, and how many questions may be open at once. Does not own the tasks and who shares them (`questions`),
what answers mean (`probe`, `condition`, `load`), nor who reads the facts. Told anew, it goes on with what stayed the
same. Single loop.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from _native import transport
from _native.arena import Arena
from backends.http.resolver import Resolver
from backends.watch.fetch import Gate
from backends.watch.plan import Name, Watched, poll_of, probe_of
from backends.watch.poller import Poller
from backends.watch.prober import Prober
from backends.watch.questions import Questions
from backends.watch.report import Report, State
from scheduler.clock import Clock

MOST_OPEN: Final = 128

#: (endpoint, "probe" or "poll", result): counted for metrics.
Count = Callable[[str, str, str], None]


class Tools:
    """What every question needs. sockets: on what connections are made. random: a number in [0, 1); news: called when a
    report changed. egress: the gate."""

    def __init__(
        self,
        arena: Arena,
        resolver: Resolver,
        sockets: transport.Poller,
        clock: Clock,
        random: Callable[[], float],
        count: Count,
        news: Callable[[], None],
        egress: Gate,
    ) -> None:
        self.egress = egress
        self.arena = arena
        self.resolver = resolver
        self.sockets = sockets
        self.clock = clock
        self.random = random
        self.count = count
        self.news = news
        self.open = asyncio.Semaphore(MOST_OPEN)

    async def pause(self, seconds: float) -> None:
        """Waits about so long: a tenth more or less, so that not all ask at once."""
        await asyncio.sleep(seconds * (0.9 + 0.2 * self.random()))


class Watcher:
    """Keeps an eye on what `use` says. random: a number in [0, 1); report: told of a bug in here."""

    def __init__(self, tools: Tools, report: Callable[[BaseException], None]) -> None:
        self._tools = tools
        self._report = report
        self._plan: dict[Name, Watched] = {}
        self._probes = Questions(probe_of, lambda watched: Prober(watched, tools))
        self._polls = Questions(poll_of, lambda watched: Poller(watched, tools))

    async def use(self, wanted: Iterable[Watched]) -> None:
        """Watches exactly these from now on. Those of which something else is asked are asked at once, and are Unknown
        until they said something; what was said of those that are gone is taken back."""
        self._plan = {one.name: one for one in wanted}
        await asyncio.gather(self._probes.use(self._plan), self._polls.use(self._plan))
        self._tools.news()

    def reports(self) -> list[Report]:
        """How all of them are."""
        return [self._describe(name) for name in self._plan]

    def heal(self) -> None:
        """Starts anew whatever stopped by a bug, and tells of it. To be called every few seconds."""
        self._probes.heal(self._plan, self._report)
        self._polls.heal(self._plan, self._report)

    async def close(self) -> None:
        """Asks nobody any more. What is known stays, and grows old."""
        self._plan = {}
        await asyncio.gather(self._probes.close(), self._polls.close())

    def _describe(self, name: Name) -> Report:
        prober, poller = self._probes.find(name), self._polls.find(name)
        problem = poller.problem(name) if poller is not None else ""
        if prober is None:
            return Report(*name, State.UNKNOWN, problem=problem)
        condition = prober.condition
        return Report(*name, condition.state, condition.message, condition.since, problem=problem)
