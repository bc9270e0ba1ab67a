"""Asks one server how busy it is, for ever, and writes it into the samples of the arena of all it stands for.

Owns the pace: often while it is busy, seldom while it is idle or cannot be read. A page that is too long, too slow or
not the engine's leaves the samples as they were, to grow old. One page is read for each endpoint that it tells of: they
may stand for different models of it. One task.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from backends.watch.engines import READERS
from backends.watch.exposition import MOST_BYTES
from backends.watch.fetch import Answer, Fetcher, open_fetcher
from backends.watch.load import Trend, is_busy
from backends.watch.plan import Name, Polling, Watched, fact_id, target_of
from backends.watch.reading import Unreadable

if TYPE_CHECKING:
    from backends.watch.watcher import Tools

MOST_BACKOFF: Final = 8


class _Share:
    """What the page says about one endpoint. problem: why that cannot be read, "" when it can."""

    def __init__(self, watched: Watched, tools: "Tools") -> None:
        self._serves = watched.serves
        self._sample = tools.arena.sample(fact_id(*watched.name))
        self._trend = Trend(watched.throughput)
        self.problem = ""

    def read(self, page: bytes, polling: Polling, now: float) -> bool:
        """Writes a sample; says whether the engine is busy."""
        try:
            reading = READERS[polling.engine](page, self._serves)
        except Unreadable as error:
            self.fail(str(error))
            return False
        self.problem = ""
        values = self._trend.sample(reading, now)
        self._sample.write(int(now * 1e9), values)
        return is_busy(values)

    def fail(self, problem: str) -> None:
        self.problem = problem
        self._trend.forget()


class Poller:
    """One question for all endpoints whose page is the same as that of `watched`, which is asked under its name."""

    def __init__(self, watched: Watched, tools: "Tools") -> None:
        assert watched.polling is not None
        self._watched = watched
        self._polling = watched.polling
        self._tools = tools
        self._shares: dict[Name, _Share] = {}
        self._failures = 0

    @property
    def idle(self) -> bool:
        """Whether nobody wants to know any more."""
        return not self._shares

    def add(self, watched: Watched) -> None:
        """Tells of one more endpoint, from the next page on."""
        self._shares[watched.name] = _Share(watched, self._tools)

    def drop(self, name: Name, *, for_good: bool) -> None:
        """Tells of that endpoint no more; its sample grows old by itself."""
        del self._shares[name]

    def problem(self, name: Name) -> str:
        """Why that endpoint's load cannot be read, "" when it can."""
        return self._shares[name].problem

    async def run(self, after: float) -> None:
        """For ever, from so many seconds on."""
        await asyncio.sleep(after)
        tools = self._tools
        fetcher = open_fetcher(self._watched, self._polling.url, tools, MOST_BYTES)
        try:
            while True:
                await tools.pause(await self._ask(fetcher))
        finally:
            await fetcher.close()

    async def _ask(self, fetcher: Fetcher) -> float:
        """Asks once; gives the seconds until the next question. A page is let go before the wait: a thousand of vLLM's
        are 85 MB."""
        async with self._tools.open:
            answer = await fetcher.get(target_of(self._polling.url), self._polling.timeout)
        wait = self._take(answer)
        self._tools.count(self._watched.endpoint, "poll", "failed" if self._failures else "ok")
        return wait

    def _take(self, answer: Answer) -> float:
        """Notes an answer; gives the seconds until the next question."""
        shares = list(self._shares.values())
        said = [one.problem for one in shares]
        busy = self._read(answer, shares)
        if [one.problem for one in shares] != said:
            self._tools.news()
        if all(one.problem for one in shares):
            self._failures += 1
            return self._polling.interval * min(1 << min(self._failures - 1, 10), MOST_BACKOFF)
        self._failures = 0
        return self._polling.busy_interval if busy else self._polling.interval

    def _read(self, answer: Answer, shares: list[_Share]) -> bool:
        """Whether the engine is busy, for any of those it tells of."""
        problem = answer.problem or ("" if answer.status == 200 else _status(answer))
        if problem:
            for one in shares:
                one.fail(problem)
            return False
        now = self._tools.clock.monotonic()
        busy = [one.read(answer.body, self._polling, now) for one in shares]  # all are read, however the first is
        return any(busy)


def _status(answer: Answer) -> str:
    return f"its page of load answers {answer.status}"
