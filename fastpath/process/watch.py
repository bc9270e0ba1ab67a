"""The watch process as the supervisor sees it: one child, there while there is something to watch.

Owns: exec'ing it with a clean environment, telling it whom to watch, starting it again when it dies, ending it when it
says nothing, and its last word, which the admin port and the metrics show. Does not: know what a probe is; traffic
needs none of it. Concurrency: the supervisor's loop; the fleet reaps.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from backends.watch.report import Report, State
from fastpath.observe.endpoints import LoadGauges
from fastpath.observe.metrics import Metrics
from fastpath.process.channel import Channel
from fastpath.process.fleet import backoff, describe_exit
from fastpath.process.member import Launch, child_environment
from fastpath.process.watch_channel import FromWatch, Look, Seen, ToWatch, open_keeper_end
from fastpath.process.watched import Plan
from scheduler.clock import Clock

SETTLED_AFTER: Final = 5.0
LOOK_EVERY: Final = 1.0
MOST_MISSED: Final = 15  # looks without a word, one after the other, after which it is as good as gone
STOP_WITHIN: Final = 3.0

ExpectExit = Callable[[int], "asyncio.Future[int]"]
Say = Callable[[str], None]


class WatchChild:
    """Keeps one watch process alive while the plan has somebody to watch. `up`: it runs and was heard."""

    def __init__(self, launch: Launch, metrics: Metrics, clock: Clock, say: Say) -> None:
        self._launch = launch
        self._clock = clock
        self._say = say
        self._plan = Plan()
        self._changed = asyncio.Event()
        self._stopping = False
        self._over = asyncio.Event()
        self._over.set()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel[FromWatch, ToWatch] | None = None
        self._reports: dict[tuple[str, str], Report] = {}
        self._missed = 0
        self.up = False
        self.restarts = 0
        self._gauges = LoadGauges(metrics, clock)
        metrics.read("fastpath_watch_up", self._read_up)
        metrics.read("fastpath_watch_restarts_total", lambda: {(): self.restarts})

    @property
    def wanted(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self._plan.watched) and not self._stopping

    def use(self, plan: Plan) -> None:
        """Watches by this plan from now on: a process is started, told or ended."""
        if plan == self._plan:
            return
        self._plan = plan
        self._gauges.configure((one.model, one.endpoint) for one in plan.watched if one.polling is not None)
        if self._channel is not None:
            self._channel.send(Look(plan))  # also an empty one: it takes back what it said
        self._changed.set()

    async def run(self, expect_exit: ExpectExit) -> None:
        """Until `stop`. `expect_exit(pid)` gives the future of an exit code: the fleet reaps every child."""
        self._over.clear()
        quick_deaths = 0
        try:
            while not self._stopping:
                if not self.wanted:
                    await self._wait_for_change(None)
                    continue
                born = self._clock.monotonic()
                reason = await self._live(expect_exit)
                if not self.wanted:
                    continue
                quick_deaths = quick_deaths + 1 if self._clock.monotonic() - born < SETTLED_AFTER else 0
                self.restarts += 1
                self._say(f"the watch process is gone and will be started again, traffic goes on: {reason}")
                await self._wait_for_change(backoff(quick_deaths))
        finally:
            self._kill()
            self._over.set()

    async def stop(self) -> None:
        """Ends it; returns when it is gone. May be called again."""
        self._stopping = True
        self._changed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN):
                await self._over.wait()
        self._kill()
        await self._over.wait()

    def reports(self) -> list[Report]:
        """How each endpoint is that it watches, by its last word; Unknown while nobody watches."""
        names = ((one.model, one.endpoint) for one in self._plan.watched)
        known = self._reports if self.up else {}
        return [known.get(name) or Report(*name, State.UNKNOWN, "nobody watches it now") for name in names]

    def failed(self) -> frozenset[tuple[str, str]]:
        """Model and endpoint of those whose probes fail."""
        if not self.up:
            return frozenset()
        return frozenset(name for name, one in self._reports.items() if one.state is State.FAILED)

    def problems(self) -> tuple[str, ...]:
        """What is wrong with it now; traffic goes on all the same."""
        return ("the watch process does not run",) if self.wanted and self.restarts and not self.up else ()

    def _read_up(self) -> dict[tuple[str, ...], float]:
        return {(): float(self.up)} if self.wanted else {}

    async def _live(self, expect_exit: ExpectExit) -> str:
        """Runs one to its end; gives the reason of it."""
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                process = self._process = self._exec(theirs.fileno())
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        exited = expect_exit(process.pid)
        exited.add_done_callback(lambda code: _note(process, code))
        channel = self._channel = await open_keeper_end(ours)
        channel.send(self._launch.attach)
        channel.send(Look(self._plan))
        self._missed = 0
        chores = [asyncio.create_task(self._listen(channel)), asyncio.create_task(self._feel())]
        try:
            while not exited.done() and self.wanted:
                self._changed.clear()
                changed = asyncio.create_task(self._changed.wait())
                waiting: set[asyncio.Future[Any]] = {exited, changed}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
            self._channel = None
            await channel.close()  # which ends it, unless it has ended
            await asyncio.wait({exited}, timeout=STOP_WITHIN)
        finally:
            self.up, self._channel = False, None
            for chore in chores:
                chore.cancel()
            await asyncio.wait(chores)
            self._kill()
        return describe_exit(await exited)

    def _exec(self, channel_fd: int) -> "subprocess.Popen[bytes]":
        launch = self._launch
        command = [sys.executable, "-P", "-m", "fastpath.process.watcher"]
        command += ["--arena-fd", str(launch.arena_fd), "--channel-fd", str(channel_fd)]
        return subprocess.Popen(
            command,
            env=child_environment(launch.environ, launch.withheld),
            stdin=subprocess.DEVNULL,
            pass_fds=[fd for fd in (launch.arena_fd, channel_fd) if fd >= 0],
            close_fds=True,
        )

    async def _listen(self, channel: Channel[FromWatch, ToWatch]) -> None:
        while (message := await channel.receive()) is not None:
            self._missed, self.up = 0, True
            if isinstance(message, Seen):
                self._reports = {(one.model, one.endpoint): one for one in message.reports}

    async def _feel(self) -> None:
        """Counts looks and not seconds: while the supervisor itself stood still nobody could be heard."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self._missed += 1
            if self._missed == MOST_MISSED:
                self._say(f"the watch process has said nothing for {MOST_MISSED} s: killed")
                self._kill()

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def _wait_for_change(self, seconds: float | None) -> None:
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


def _note(process: "subprocess.Popen[bytes]", exited: "asyncio.Future[int]") -> None:
    """Popen did not wait for it, the fleet did; from here on its number may be another process's."""
    if not exited.cancelled():
        process.returncode = exited.result()


def show(reports: list[Report], now: float) -> list[dict[str, Any]]:
    """Reports as the admin port shows them."""
    return [
        {
            "model": one.model,
            "endpoint": one.endpoint,
            "state": one.state.value,
            "message": one.message,
            "since_s": round(now - one.since, 1) if one.since else None,
            "load_problem": one.problem,
        }
        for one in reports
    ]
