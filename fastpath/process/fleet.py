"""The workers of one node: kept at their number, configured and drained together, seen through the arena they share.

Owns: one task per slot, which replaces its worker when it dies; reaping every child (the supervisor may be PID 1), and
what they left in the arena; the page of metrics. Does not: know settings, signals or HTTP. Concurrency: the
supervisor's loop.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

from fastpath.observe.exposition import render
from fastpath.observe.metrics import Metrics
from fastpath.observe.pool import Pool
from fastpath.poison.strikes import Strikes
from fastpath.process.channel import Condition
from fastpath.process.member import Given, Launch, Member, spawn
from fastpath.route.live import LiveEndpoint
from scheduler.clock import Clock

ANSWER_WITHIN: Final = 1.0
RELOAD_WITHIN: Final = 10.0
POLL_EVERY: Final = 1.0  # also the longest that what a dead worker held stays taken
SETTLED_AFTER: Final = 5.0
FIRST_BACKOFF: Final = 0.1
LONGEST_BACKOFF: Final = 2.0
FATAL_DEATHS: Final = 3
GRACE: Final = 5.0


class Fleet:
    """Keeps `size` workers alive. `given` is what new ones get; `say` prints a line for the operator.

    `metrics` counts in the arena that the workers share, and `pool` judges what it says.
    """

    def __init__(
        self,
        launch: Launch,
        size: int,
        given: Given,
        metrics: Metrics,
        pool: Pool,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._launch = launch
        self._size = size
        self._given = given
        self._metrics = metrics
        self._pool = pool
        self._clock = clock
        self._say = say
        self._members: dict[int, Member] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._slots: list[asyncio.Task[None]] = []
        self._draining = asyncio.Event()
        self._hurry = asyncio.Event()
        self._early_deaths = 0
        self._strikes = Strikes(metrics.arena)
        self.degraded: Callable[[], tuple[str, ...]] = tuple  # what is wrong while traffic goes on
        self.started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        metrics.read("fastpath_workers", lambda: {(): self.alive()})
        metrics.read("fastpath_workers_wanted", lambda: {(): self._size})

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Starts all workers; `tasks` owns the work. `started` resolves to "" once all are ready, or why not."""
        self._slots = [tasks.create_task(self._keep(slot)) for slot in range(self._size)]

    def reap(self) -> None:
        """Collects every child that has ended, our own workers and orphans given to PID 1. Call it on SIGCHLD."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            exited = self._exits.pop(pid, None)
            if exited is not None:
                self._strike(pid, status)
                exited.set_result(os.waitstatus_to_exitcode(status))
        self._reap_arena()

    async def poll(self) -> None:
        """Every second, for ever: whether workers take requests, what dead ones left, and a look at the counters."""
        while True:
            await asyncio.sleep(POLL_EVERY)
            self._reap_arena()
            self._tell_condition()
            if self._pool.due:
                self._pool.look(self._metrics.arena.series())
            await self._refresh()

    async def configure(self, given: Given) -> str:
        """Gives all workers something new to run by; "" or why they were refused, and then no worker has them.

        One ready worker is asked first: workers are alike, so what it accepts the others accept.
        """
        first = next((member for member in self._members.values() if member.ready), None)
        if first is not None:
            problem = await self._try(first, given)
            if problem:
                return problem
        self._given = given
        others = [member for member in self._members.values() if member is not first]
        await asyncio.gather(*(self._swap(member, given) for member in others))
        return ""

    async def drain(self, deadline: float) -> None:
        """Lets the workers finish for `deadline` seconds, then ends them. Returns when all have exited."""
        self._draining.set()
        for member in self._members.values():
            member.drain(deadline)
        await self._wait_for_exits(deadline + GRACE)
        for member in self._members.values():
            member.kill()
        if self._slots:
            await asyncio.wait(self._slots)

    def hurry(self) -> None:
        """Cuts a drain short: what still runs ends with an error, and after a second by force."""
        self._hurry.set()
        for member in self._members.values():
            member.drain(0)

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Exposition text of the whole node and its content type."""
        rows = tuple(self._metrics.arena.series())
        self._pool.look(rows)
        return render(chain(rows, self._metrics.readings(), self._pool.rows()), accept)

    async def requests(self) -> list[dict[str, Any]]:
        """Requests in flight in all workers."""
        asked = (member.requests(ANSWER_WITHIN) for member in list(self._members.values()))
        return [request for requests in await asyncio.gather(*asked) for request in requests]

    async def loads(self) -> list[LiveEndpoint] | None:
        """What one worker knows of the endpoints, which the others told it a tick ago; None while none answers."""
        for member in list(self._members.values()):
            if member.ready and (found := await member.loads(ANSWER_WITHIN)) is not None:
                return found
        return None

    def living(self) -> list[Member]:
        """The workers alive."""
        return list(self._members.values())

    def alive(self) -> int:
        """Workers alive."""
        return len(self._members)

    def ready(self) -> bool:
        """Whether every slot has a worker that takes requests."""
        return len(self._members) == self._size and all(member.ready for member in self._members.values())

    def _tell_condition(self) -> None:
        condition = Condition(bool(self.degraded()))
        for member in self._members.values():
            if member.ready:
                member.tell(condition)

    def _strike(self, pid: int, status: int) -> None:
        """What a worker ran that was killed, or killed itself, is remembered: it may be what did it."""
        if not os.WIFSIGNALED(status):
            return
        slot = next((slot for slot, worker, _ in self._metrics.arena.workers() if worker == pid), None)
        if slot is not None:
            self._strikes.note_death(slot, self._clock.monotonic())

    def _reap_arena(self) -> None:
        self._metrics.arena.reap(int(self._clock.monotonic() * 1e9))

    async def _refresh(self) -> None:
        await asyncio.gather(*(member.refresh(ANSWER_WITHIN) for member in list(self._members.values())))

    async def _try(self, member: Member, given: Given) -> str:
        answer = await member.configure(given, RELOAD_WITHIN)
        if answer is None:  # dead, or stuck and then useless: its replacement starts with the settings that work
            member.kill()
            return f"worker {member.pid} did not survive them"
        return answer.problem

    async def _swap(self, member: Member, given: Given) -> None:
        answer = await member.configure(given, RELOAD_WITHIN)
        if answer is None or not answer.ok:
            reason = answer.problem if answer else "it does not answer"
            self._say(f"worker {member.pid} did not take the new settings: {reason}")
        if answer is not None and not answer.ok:  # it would go on by what was taken back: let another take its place
            member.drain(GRACE)

    async def _wait_for_exits(self, within: float) -> None:
        """Until all slots are done, `within` seconds at most, or one more second once `hurry` was called."""
        if not self._slots:
            return
        hurried = asyncio.create_task(self._hurry.wait())
        gone = asyncio.create_task(_all_done(self._slots))
        await asyncio.wait({gone, hurried}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if self._hurry.is_set():
            await asyncio.wait({gone}, timeout=ANSWER_WITHIN)
        for task in (gone, hurried):
            task.cancel()
        await asyncio.wait({gone, hurried})

    async def _keep(self, slot: int) -> None:
        quick_deaths = 0
        while not self._draining.is_set():
            born = self._clock.monotonic()
            reason = await self._live(slot)
            if self._draining.is_set():
                return
            self._note_death(reason)
            quick_deaths = quick_deaths + 1 if self._clock.monotonic() - born < SETTLED_AFTER else 0
            await self._pause(backoff(quick_deaths))

    async def _live(self, slot: int) -> str:
        """Runs one worker to its end; gives the reason of it."""
        try:
            member = self._members[slot] = await spawn(self._launch, self.expect_exit, self._check_started)
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        if self._draining.is_set():
            member.kill()
        code = await member.live(self._launch.attach, self._given)
        del self._members[slot]
        if member.problem and not self.started.done():
            self.started.set_result(member.problem)
        return member.problem or describe_exit(code)

    def expect_exit(self, pid: int) -> "asyncio.Future[int]":
        """The exit code of a child that was just started, once `reap` has collected it."""
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exits[pid] = exited
        return exited

    def _check_started(self) -> None:
        if self.ready() and not self.started.done():
            self.started.set_result("")

    def _note_death(self, reason: str) -> None:
        if self.started.done():
            self._metrics.count("fastpath_worker_restarts_total", ())
            self._say(f"a worker is gone and will be replaced: {reason}")
            return
        self._early_deaths += 1
        if self._early_deaths >= FATAL_DEATHS:
            self.started.set_result(f"workers die while they start: {reason}")

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        except TimeoutError:
            return


def backoff(quick_deaths: int) -> float:
    """Seconds to wait before a replacement: none for a worker that had run well, then 0.1 s doubling to 2 s."""
    if quick_deaths == 0:
        return 0.0
    return float(min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(quick_deaths - 1, 10)))


async def _all_done(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"it exited with status {code}"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"
