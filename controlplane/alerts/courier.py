"""Sends what is due: one try after the other, further and further apart, until somebody takes it or nobody will.

Owns the loop, when a delivery is tried again, and when it is given up (`dead`). Does not own connections (`fetch`) or
the message (`webhook`). A delivery is claimed before it is sent by moving its due time on, so of several control
processes one sends; one that dies in between leaves it due again, with the same id, which the receiver leaves out.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import and_, func, select, update

from controlplane.alerts.destinations import Destinations
from controlplane.alerts.tables import ALERTS, DELIVERIES, DESTINATIONS, State
from controlplane.alerts.webhook import body_of, sign, webhook_id
from controlplane.secrets.seal import SealError
from controlplane.store.database import Database
from controlplane.store.errors import StoreError
from controlplane.store.metadata import micros
from fastpath.identity.token.fetch import Ask, Fetch, FetchProblem

GONE: Final = 410
"""The receiver wants no more of it, ever."""
_log = logging.getLogger("fastpath.alerts")


class Patience(Struct, frozen=True):
    """Seconds, but for `tries`. With these the last of 12 tries is about three days after the first."""

    tries: int = 12
    first: float = 5.0
    factor: float = 4.0
    longest: float = 8 * 3_600.0
    claim: float = 60.0  # how long a delivery is left alone while somebody sends it; above the fetch's time limit
    look_every: float = 5.0
    at_once: int = 8

    def pause(self, tries: int, chance: float) -> float:
        """After so many tries: seconds until the next. chance: random, from 0 to 1; half of a pause is left to it."""
        whole = min(self.longest, self.first * self.factor ** min(tries - 1, 30))
        return whole * (0.5 + 0.5 * chance)


class Counts(Struct):
    """Tries since the start by how they ended, and how many wait."""

    delivered: int = 0
    failed: int = 0
    dead: int = 0
    waiting: int = 0


class Courier:
    """Sends for one database. now: Unix seconds; chance: random numbers from 0 to 1.

    fetch: for destinations that the operator vouches for. wary: for those of tenants, reaches public addresses alone.
    """

    def __init__(
        self,
        database: Database,
        destinations: Destinations,
        fetch: Fetch,
        wary: Fetch,
        now: Callable[[], float],
        chance: Callable[[], float],
        patience: Patience | None = None,
    ) -> None:
        self._database = database
        self._destinations = destinations
        self._fetch = fetch
        self._wary = wary
        self._now = now
        self._chance = chance
        self._patience = patience or Patience()
        self._wake = asyncio.Event()
        self._problem = ""
        self.counts = Counts()

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled. Whatever fails is tried again: an alert waits for no restart."""
        while True:
            self._wake.clear()
            more = await self._try_step()
            if not more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._patience.look_every):
                        await self._wake.wait()

    async def step(self) -> int:
        """Sends what is due now, a few at once; how many. Raises StoreError."""
        rows = await self._claim()
        ended = await asyncio.gather(*(self._deliver(row) for row in rows), return_exceptions=True)
        for failure in ended:
            if failure is not None:
                raise failure
        await self._count()
        return len(rows)

    async def _try_step(self) -> int:
        try:
            sent = await self.step()
        except StoreError as error:
            self._tell(f"alerts are not sent now: {error}")
            return 0
        except Exception as bug:
            self._tell("alerts are not sent now because of a bug, please report it", bug)
            return 0
        self._problem = ""
        return sent

    def _tell(self, problem: str, error: BaseException | None = None) -> None:
        if problem != self._problem:
            _log.error("%s", problem, exc_info=error)
        self._problem = problem

    async def _claim(self) -> list[Any]:
        """Due deliveries with their alert and destination, left alone by others for a while."""
        now = micros(self._now())
        joined = DELIVERIES.join(DESTINATIONS, DESTINATIONS.c.id == DELIVERIES.c.destination_id)
        alive = and_(DESTINATIONS.c.deleted_at.is_(None), DESTINATIONS.c.disabled.is_(False))
        due = and_(DELIVERIES.c.state == int(State.WAITING), DELIVERIES.c.due_at <= now, alive)
        statement = (
            select(
                *(DELIVERIES.c[name] for name in ("alert_id", "destination_id", "tries", "due_at")),
                *(DESTINATIONS.c[name] for name in ("id", "name", "url", "sealed", "trusted")),
            )
            .select_from(joined)
            .where(due)
            .order_by(DELIVERIES.c.due_at)
            .limit(self._patience.at_once)
        )
        async with self._database.read() as connection:
            found = [*await connection.execute(statement)]
        return [row for row in found if await self._moved(row, DELIVERIES.c.due_at == row.due_at, self._held(now))]

    def _held(self, now: int) -> dict[str, Any]:
        return {"due_at": now + micros(self._patience.claim), "updated_at": now}

    async def _deliver(self, row: Any) -> None:
        tries = row.tries + 1
        status, problem = await self._send(row)
        now = micros(self._now())
        values: dict[str, Any] = {"tries": tries, "updated_at": now, "problem": problem}
        if not problem:
            values |= {"state": int(State.DELIVERED)}
            self.counts.delivered += 1
        elif status == GONE or tries >= self._patience.tries:
            values |= {"state": int(State.DEAD)}
            self.counts.dead += 1
            _log.error("alert %s is given up for destination %s: %s", row.alert_id, row.name, problem)
        else:
            values |= {"due_at": now + micros(self._patience.pause(tries, self._chance()))}
            self.counts.failed += 1
        await self._moved(row, DELIVERIES.c.state == int(State.WAITING), values)

    async def _send(self, row: Any) -> tuple[int, str]:
        """The status, 0 without one, and what went wrong: nothing of it was sent by the receiver but its status."""
        try:
            async with self._database.read() as connection:
                alert = (await connection.execute(select(ALERTS).where(ALERTS.c.id == row.alert_id))).one()
            body = body_of(alert)
            headers = sign(self._destinations.open(row), webhook_id(row.alert_id), int(self._now()), body)
            fetch = self._fetch if row.trusted else self._wary
            answer = await fetch(Ask(row.url, json=body, headers=headers, status_only=True))
        except (FetchProblem, SealError) as problem:
            return 0, str(problem)
        taken = 200 <= answer.status < 300
        return answer.status, "" if taken else f"it answered {answer.status}"

    async def _moved(self, row: Any, condition: Any, values: dict[str, Any]) -> bool:
        """Writes to one delivery if it still is as expected; whether it was."""
        same = and_(DELIVERIES.c.alert_id == row.alert_id, DELIVERIES.c.destination_id == row.destination_id)
        waiting = DELIVERIES.c.state == int(State.WAITING)

        async def work(connection: Any) -> bool:
            statement = update(DELIVERIES).where(same, waiting, condition).values(**values)
            return bool((await connection.execute(statement)).rowcount)

        return await self._database.run(work)

    async def _count(self) -> None:
        waiting = select(func.count()).select_from(DELIVERIES).where(DELIVERIES.c.state == int(State.WAITING))
        async with self._database.read() as connection:
            self.counts.waiting = int((await connection.execute(waiting)).scalar_one())
