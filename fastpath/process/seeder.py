"""Fills the budgets of a new arena from the ledger, before anybody with a hard budget is let in.

Owns the asking, again and again until all is answered; a ledger that cannot be read keeps those budgets closed, because
a budget that begins anew would be a present to whoever makes a machine reboot. Does not own which budgets there are
(`fastpath.limits.seeding`). Concurrency: the supervisor's loop, once in its life.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from _native.arena import Arena
from fastpath.liaison import MOST_QUESTIONS, Declined, SpentAsked, SpentTold
from fastpath.limits.seeding import Gap, fill, finish, gaps_of
from fastpath.process.liaison import NoAnswer
from fastpath.process.pulse import Asks
from fastpath.settings import Settings
from scheduler.clock import Clock

AGAIN: Final = 0.25
"""Seconds between tries."""
WITHIN: Final = 10.0
SAID_AFTER: Final = 5.0


class Seeder:
    """Seeds one arena. `say` prints a line for the operator."""

    def __init__(self, arena: Arena, asks: Asks, clock: Clock, say: Callable[[str], None]) -> None:
        self._arena = arena
        self._asks = asks
        self._clock = clock
        self._say = say
        self._problem = ""
        self.done = False

    @property
    def problem(self) -> str:
        """Why hard budgets are still closed; "" when they are not, or nobody need worry yet."""
        return self._problem

    async def run(self, settings: Callable[[], Settings]) -> None:
        """Until all is seeded. `settings`: what workers run by."""
        began = self._clock.monotonic()
        while not await self._try(settings(), began):
            await asyncio.sleep(AGAIN)
        if self._problem:
            self._say("budgets are seeded from the ledger, and open")
        self._problem = ""

    async def _try(self, settings: Settings, began: float) -> bool:
        gaps = gaps_of(settings, self._clock.now())
        try:
            for start in range(0, len(gaps), MOST_QUESTIONS):
                await self._fill(gaps[start : start + MOST_QUESTIONS])
        except NoAnswer as error:
            waited = self._clock.monotonic() - began
            if waited >= SAID_AFTER:
                self._tell(f"hard budgets are closed until the ledger says what was spent: {error}")
            return False
        finish(self._arena)
        self.done = True
        return True

    async def _fill(self, gaps: list[Gap]) -> None:
        told = await self._asks.ask(SpentAsked(tuple(gap.question for gap in gaps)), WITHIN)
        if isinstance(told, SpentTold) and len(told.amounts) == len(gaps):
            fill(self._arena, gaps, told.amounts)
            return
        raise NoAnswer(told.problem if isinstance(told, Declined) else "it answered something else")

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            self._say(problem)
        self._problem = problem
