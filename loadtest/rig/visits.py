"""Callers that come one after the other, each on a connection of its own, and what came of each.

Owns the connections. Does not judge. Concurrency: a few tasks on the running loop, all awaited at the end.
"""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from loadtest.rig.conversation import Conversation


@dataclass
class Visit:
    """One request on a new connection. Loop times, seconds; `status` None when no whole answer came, and then why."""

    began: float
    ended: float
    status: int | None
    problem: str = ""


class Visits:
    """Keeps visiting `port` with `request` while it is entered, `at_once` callers with `pause` seconds between two.

    hesitate: seconds between the connection and the request, as over a long way.
    """

    def __init__(
        self, port: int, request: bytes, *, at_once: int = 2, pause: float = 0.005, hesitate: float = 0.0
    ) -> None:
        self.all: list[Visit] = []
        self._port = port
        self._request = request
        self._at_once = at_once
        self._pause = pause
        self._hesitate = hesitate
        self._news = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._visit_on()) for _ in range(self._at_once)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def more(self, count: int) -> list[Visit]:
        """The next `count` visits that begin after this call, once they have ended. TimeoutError after 30 s."""
        now = asyncio.get_running_loop().time()
        async with asyncio.timeout(30):
            while len(found := [visit for visit in self.all if visit.began >= now]) < count:
                self._news.clear()
                await self._news.wait()
        return found

    async def _visit_on(self) -> None:
        while not self._stopping:
            self.all.append(await self._visit())
            self._news.set()
            await asyncio.sleep(self._pause)

    async def _visit(self) -> Visit:
        loop = asyncio.get_running_loop()
        began = loop.time()
        client = None
        try:
            client = await Conversation.open(self._port)
            await asyncio.sleep(self._hesitate)
            if client.ended.done():
                raise ConnectionResetError(f"closed by {client.ended.result()} before it asked")
            reply = await client.ask(self._request)
            return Visit(began, loop.time(), reply.status, "" if reply.whole else "not whole")
        except (OSError, TimeoutError) as error:
            return Visit(began, loop.time(), None, f"{type(error).__name__}: {error}")
        finally:
            if client is not None:
                client.leave()
