"""Keeps a process at the newest publication of its folder: at a nudge, and by looking once a second.

Owns when the folder is looked at and in which order a publication is judged, made the last one, and swapped in. Does
not own what swapping means. Concurrency: one task on the loop; all that waits for the disk runs in one thread of its
own, which lets other threads run between the pages it hashes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from fastpath.publication.intake import Intake, Publication
from fastpath.publication.nudge import NudgeListener
from fastpath.publication.problem import PublicationError, Refused

POLL: Final = 1.0
"""Seconds between two looks at the folder when no nudge comes."""
AGAIN: Final = 10
"""Looks after which one that was unfit is tried again: a worker may have been short of something, and what waits may be
a revocation."""

Prepare = Callable[[Publication], Awaitable[Callable[[], None]]]
"""Makes ready what a publication says and gives the swap, which must not fail. Raises Refused("unfit") to stay."""
Say = Callable[[str], None]


class Follower:
    """Takes what one intake gives. `say` is told of refusals, one line each."""

    def __init__(self, intake: Intake, nudges: NudgeListener, prepare: Prepare, say: Say, poll: float = POLL) -> None:
        self._intake = intake
        self._nudges = nudges
        self._prepare = prepare
        self._say = say
        self._poll = poll
        self._thread = ThreadPoolExecutor(1, "publication")
        self._told = ""
        self._reason = ""  # of what was refused; "" for what may pass by itself
        self.version = 0

    @property
    def problem(self) -> str:
        """Why what was looked at last was not taken; "" when all is well."""
        return self._told and f"publication not taken: {self._told}"

    async def start(self) -> bool:
        """Takes the current publication, or the one before when the current one is unfit and was never taken.

        Whether there is one now.
        """
        return await self.look() or await self._take(self._intake.take_previous)

    async def run(self) -> None:
        """Follows until it is cancelled."""
        looks = 0
        while True:
            nudged = await self._nudges.wait(self._poll)
            looks += 1
            await self.look(again=nudged or (self._reason == "unfit" and looks % AGAIN == 0))

    async def look(self, *, again: bool = False) -> bool:
        """Takes the current publication unless it was judged before; whether one was swapped in."""
        return await self._take(lambda: self._intake.take(again=again))

    async def close(self) -> None:
        """Ends the thread, after what it is at."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        self._intake.close()

    async def _take(self, take: Callable[[], Publication | None]) -> bool:
        try:
            publication = await self._in_thread(take)
            if publication is None:
                if not self._reason:  # the folder can be read again, and there is nothing new in it
                    self._told = ""
                return False
            await self._swap(publication)
        except (Refused, PublicationError, OSError) as problem:
            self._reason = problem.reason if isinstance(problem, Refused) else ""
            self._tell(str(problem))
            return False
        self._reason = self._told = ""
        return True

    async def _swap(self, publication: Publication) -> None:
        """Prepared, then durably the last one, then swapped in: a crash between them leaves one that may be taken."""
        try:
            swap = await self._prepare(publication)
        except Refused as refused:
            self._intake.decline(publication, refused)
            raise
        await self._in_thread(lambda: self._intake.accept(publication))
        swap()
        self.version = publication.manifest.version

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            self._told = problem
            self._say(self.problem)

    async def _in_thread(self, call: "Callable[[], Publication | None]") -> Publication | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
