"""Asks one server how it is, for ever, and writes what comes of it into the words of the arena of all it stands for.

Owns the order: ask, judge, note, write, wait. Does not own the meaning of an answer (`probe`) or of several
(`condition`), nor whose questions are the same (`plan`). One task.
"""

import asyncio
from typing import TYPE_CHECKING

from _native.arena import Word
from backends.watch.condition import Condition
from backends.watch.fetch import Fetcher, open_fetcher
from backends.watch.plan import Name, Watched, fact_id
from backends.watch.probe import MOST_BYTES, Verdict, judge
from backends.watch.report import State

if TYPE_CHECKING:
    from backends.watch.watcher import Tools


class Prober:
    """One question for all endpoints whose probe is the same as that of `watched`, which is asked under its name."""

    def __init__(self, watched: Watched, tools: "Tools") -> None:
        assert watched.probing is not None
        self._watched = watched
        self._probing = watched.probing
        self._tools = tools
        self._words: dict[Name, Word] = {}
        self.condition = Condition(watched.probing, tools.clock.monotonic())

    @property
    def idle(self) -> bool:
        """Whether nobody wants to know any more."""
        return not self._words

    def add(self, watched: Watched) -> None:
        """Tells of one more endpoint from now on, and at once what is known."""
        word = self._words[watched.name] = self._tools.arena.word(fact_id(*watched.name, "probe"))
        if self.condition.state is not State.UNKNOWN:
            word.set(self.condition.word)

    def drop(self, name: Name, *, for_good: bool) -> None:
        """Tells of that endpoint no more. for_good: it is nobody's any more, and what was said of it is taken back."""
        word = self._words.pop(name)
        if for_good:
            word.set(0)

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
            for word in self._words.values():
                word.set(condition.word)
        if changed or condition.message != said:
            self._tools.news()
