"""Asks one endpoint how it is, for ever, and writes what comes of it into its word of the arena.

Owns the order: ask, judge, note, write, wait. Does not own the meaning of an answer (`probe`) or of several
(`condition`). One task.
"""

import asyncio
from typing import TYPE_CHECKING

from backends.watch.condition import Condition
from backends.watch.fetch import Fetcher, open_fetcher
from backends.watch.plan import Probing, Watched, fact_id
from backends.watch.probe import MOST_BYTES, Verdict, judge
from backends.watch.report import State

if TYPE_CHECKING:
    from backends.watch.watcher import Tools


class Prober:
    """Of one endpoint."""

    def __init__(self, watched: Watched, probing: Probing, tools: "Tools") -> None:
        self._watched = watched
        self._probing = probing
        self._tools = tools
        self._word = tools.arena.word(fact_id(watched.model, watched.endpoint, "probe"))
        self.condition = Condition(probing, tools.clock.monotonic())

    async def run(self, after: float) -> None:
        """For ever, from so many seconds on."""
        await asyncio.sleep(after)
        tools = self._tools
        fetcher = open_fetcher(self._watched, self._watched.url, tools, MOST_BYTES)
        try:
            while True:
                await self._ask(fetcher)
                await tools.pause(self.condition.next_in(tools.clock.monotonic()))
        finally:
            await fetcher.close()

    def withdraw(self) -> None:
        """Takes back what was said: the endpoint is nobody's any more."""
        self._word.set(0)

    async def _ask(self, fetcher: Fetcher) -> None:
        async with self._tools.open:
            answer = await fetcher.get(self._probing.target, self._probing.timeout)
        verdict, message = judge(answer, self._probing.expect, optional=self._probing.optional)
        self._tools.count(self._watched.endpoint, "probe", verdict)
        self._note(verdict, message)

    def _note(self, verdict: Verdict, message: str) -> None:
        condition = self.condition
        said = condition.message
        changed = condition.note(verdict, message, self._tools.clock.monotonic())
        if condition.state is not State.UNKNOWN:  # else what a watch process before this one said stands, to its end
            self._word.set(condition.word)
        if changed or condition.message != said:
            self._tools.news()
