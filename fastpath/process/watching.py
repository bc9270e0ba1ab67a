"""Watching on whatever loop there is: the watch process's own, or that of a program that embeds a gateway.

Owns the watcher's tools (name servers, counters, chance) and the look after tasks that ended by a bug. Does not own who
says what to watch. Single loop.
"""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Final, Self

from _native.transport import Poller
from backends.http.resolver import AresQuery, Resolver
from backends.watch.report import Report
from backends.watch.watcher import Tools, Watcher
from fastpath.guard.egress import egress
from fastpath.guard.label import NO_DATA
from fastpath.observe.metrics import Metrics
from fastpath.process.watched import Plan
from fastpath.settings import Dns
from scheduler.clock import Clock

HEAL_EVERY: Final = 5.0


class Watching:
    """Watches what `use` says, and writes it into the arena of `metrics`. news: called when a report changed."""

    def __init__(self, metrics: Metrics, clock: Clock, news: Callable[[], None]) -> None:
        self._metrics = metrics
        self._dns = Dns()
        self._resolver = Resolver(AresQuery(self._dns.nameservers), clock, self._dns.min_ttl, self._dns.max_ttl)
        loop = asyncio.get_running_loop()
        self._sockets = Poller(loop)
        chance, gate = random.SystemRandom().random, partial(egress, NO_DATA)
        tools = Tools(metrics.arena, self._resolver, self._sockets, clock, chance, self._count, news, gate)
        self._watcher = Watcher(tools, self._tell)
        self._healing = loop.create_task(self._heal())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def use(self, plan: Plan) -> None:
        """Watches by this plan from now on."""
        if plan.dns != self._dns:
            self._dns = plan.dns
            self._resolver.configure(AresQuery(plan.dns.nameservers), plan.dns.min_ttl, plan.dns.max_ttl)
        await self._watcher.use(plan.watched)

    def reports(self) -> list[Report]:
        """How all endpoints are."""
        return self._watcher.reports()

    async def close(self) -> None:
        """Asks nobody any more."""
        self._healing.cancel()
        await asyncio.wait({self._healing})
        await self._watcher.close()
        await self._resolver.close()
        self._sockets.close()

    def _count(self, endpoint: str, kind: str, result: str) -> None:
        self._metrics.count("fastpath_watch_questions_total", (endpoint, kind, result))

    async def _heal(self) -> None:
        while True:
            await asyncio.sleep(HEAL_EVERY)
            self._watcher.heal()

    def _tell(self, error: BaseException) -> None:
        context = {"message": "a bug in watching an endpoint, it is watched anew", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
