"""Asks one endpoint how busy it is, for ever, and writes it into its sample of the arena.

Owns the pace: often while it is busy, seldom while it is idle or cannot be read. A page that is too long, too slow or
not the engine's leaves the sample as it was, to grow old. One task.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from backends.watch.engines import READERS
from backends.watch.exposition import MOST_BYTES
from backends.watch.fetch import Answer, Fetcher, open_fetcher
from backends.watch.load import Trend, is_busy
from backends.watch.plan import Polling, Watched, fact_id, target_of
from backends.watch.reading import Unreadable

if TYPE_CHECKING:
    from backends.watch.watcher import Tools

MOST_BACKOFF: Final = 8


class Poller:
    """Of one endpoint. problem: why its load cannot be read, "" when it can."""

    def __init__(self, watched: Watched, polling: Polling, tools: "Tools") -> None:
        self._watched = watched
        self._polling = polling
        self._tools = tools
        self._sample = tools.arena.sample(fact_id(watched.model, watched.endpoint))
        self._trend = Trend(watched.throughput)
        self._failures = 0
        self.problem = ""

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
        self._tools.count(self._watched.endpoint, "poll", "failed" if self.problem else "ok")
        return wait

    def _take(self, answer: Answer) -> float:
        """Notes an answer; gives the seconds until the next question."""
        said, self.problem = self.problem, answer.problem or ("" if answer.status == 200 else _status(answer))
        busy = not self.problem and self._read(answer.body)
        if self.problem != said:
            self._tools.news()
        if self.problem:
            self._trend.forget()
            self._failures += 1
            return self._polling.interval * min(1 << min(self._failures - 1, 10), MOST_BACKOFF)
        self._failures = 0
        return self._polling.busy_interval if busy else self._polling.interval

    def _read(self, page: bytes) -> bool:
        """Writes a sample; says whether the engine is busy."""
        now = self._tools.clock.monotonic()
        try:
            reading = READERS[self._polling.engine](page, self._watched.serves)
        except Unreadable as error:
            self.problem = str(error)
            return False
        values = self._trend.sample(reading, now)
        self._sample.write(int(now * 1e9), values)
        return is_busy(values)


def _status(answer: Answer) -> str:
    return f"its page of load answers {answer.status}"
