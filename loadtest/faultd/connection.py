"""One proxied connection, from the accepted socket to its line in the log.

Owns both sockets and four tasks; when `run` returns or is cancelled, all are gone. Does not choose rules.
"""

import asyncio
import random
import socket
from collections.abc import Sequence

from loadtest.faultd import ending
from loadtest.faultd.course import Course
from loadtest.faultd.pump import End, Ended, Pump
from loadtest.faultd.record import ConnectionRecord, Side, Tally
from loadtest.faultd.rules import FlowRule, How
from scheduler.clock import Clock


class Connection:
    """A client socket and a connected target socket with the faults between them."""

    def __init__(
        self,
        sockets: tuple[socket.socket, socket.socket],
        rules: Sequence[FlowRule],
        rand: random.Random,
        record: ConnectionRecord,
        clock: Clock,
    ) -> None:
        self._departures: list[Side] = []
        client = End("client", sockets[0], self._departures)
        target = End("target", sockets[1], self._departures)
        courses = {way: Course([r for r in rules if r.direction == way], rand) for way in ("up", "down")}
        self._courses = tuple(courses.values())
        self._tallies = (Tally(record.up), Tally(record.down))
        self._pumps = (
            Pump(client, target, courses["up"], self._tallies[0], clock),
            Pump(target, client, courses["down"], self._tallies[1], clock),
        )
        self._ends = (client, target)
        self._record = record
        self._clock = clock
        self._order: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def drop(self, how: How) -> bool:
        """Ends (fin, rst) or freezes (stall) the connection now. False: it was ending already."""
        if self._order.done():
            return False
        if how == "stall":
            for pump in self._pumps:
                pump.stall()
        else:
            self._order.set_exception(Ended("proxy", how))
        return True

    async def run(self) -> None:
        """Relays until both directions are over, then closes both sockets and completes the record's flows."""
        try:
            ended = await self._relay()
            self._record.closed = self._clock.now()
            self._record.closed_by = self._departures[0] if self._departures else ended.by
            self._record.ended = ended.how
            await self._close(ended)
        finally:
            for end in self._ends:
                end.sock.close()
            self._complete()

    async def _relay(self) -> Ended:
        jobs = [asyncio.ensure_future(job) for pump in self._pumps for job in (pump.read(), pump.write())]
        try:
            await self._watch(set(jobs))
        except Ended as ended:
            return ended
        finally:
            await _cancel([*jobs, self._order])
        return Ended(self._departures[0], "fin")

    async def _watch(self, pending: set[asyncio.Future[None]]) -> None:
        while pending:
            done, _ = await asyncio.wait((*pending, self._order), return_when=asyncio.FIRST_COMPLETED)
            pending -= done
            for job in done:
                job.result()

    async def _close(self, ended: Ended) -> None:
        close = ending.reset_when_sent if ended.how == "rst" else ending.finish
        await asyncio.gather(*(close(end.sock) for end in self._ends))

    def _complete(self) -> None:
        for tally in self._tallies:
            tally.finish()
        self._record.applied = list(dict.fromkeys(name for course in self._courses for name in course.applied))


async def _cancel(jobs: Sequence[asyncio.Future[None]]) -> None:
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
