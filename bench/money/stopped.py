"""What callers notice when the Redis that limits and budgets are shared through is stopped (SIGSTOP: it answers nothing
and refuses nothing).

Owns rounds with Redis running and stopped, in turned order, and what they say. Judges them by their p99.
"""

import os
import signal
import time
from pathlib import Path
from statistics import median

import msgspec

from bench.money.house import House
from bench.slo.client import Answered, Arrivals, OpenLoop
from bench.stage import LOAD_CPU
from bench.stage.callers import Load
from bench.stage.programs import Programs, Void

RATE = 500.0
READY_WITHIN = 20.0
"""Seconds that the node may take to say that Redis is gone, or there again."""


class Pair(msgspec.Struct, frozen=True):
    """The same callers with Redis running and stopped; what else a caller is told is in neither."""

    running: Answered
    stopped: Answered

    @property
    def added_ms(self) -> float:
        """What the p99 rose by."""
        return self.stopped.latency.p99 - self.running.latency.p99


class Redis:
    """A redis-server for a benchmark, in memory, on a Unix socket."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        """Raises Void when it does not come up."""
        self.path = folder / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.path), "--save", "", "--appendonly", "no"]
        self._pid = programs.spawn(LOAD_CPU, "redis", command).pid
        end = time.monotonic() + READY_WITHIN
        while not self.path.exists():
            if time.monotonic() > end:
                raise Void("redis-server does not come up")
            time.sleep(0.05)

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def stop(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


def measure_pair(
    house: House, redis: Redis, client: OpenLoop, load: Load, seconds: float, *, first_running: bool
) -> Pair:
    """One round; Redis runs when it is over. Raises Void."""
    arrivals = Arrivals(RATE, seconds, warm_up=0.5)
    found = {}
    for running in (first_running, not first_running):
        _turn(house, redis, running)
        found[running] = client.run(house.subject.port, load, arrivals)
    _turn(house, redis, running=True)
    return Pair(found[True], found[False])


def await_part(house: House, client: OpenLoop, load: Load) -> None:
    """Until the node has a part of what is shared, and serves. Raises Void."""
    end = time.monotonic() + READY_WITHIN
    while client.run(house.subject.port, load, Arrivals(RATE, 0.5, warm_up=0.0)).refused:
        if time.monotonic() > end:
            raise Void(f"requests are still refused {READY_WITHIN:g} s after the start")


def _turn(house: House, redis: Redis, running: bool) -> None:
    """Stops it or lets it go on, and waits until the node says which. Raises Void when it does not."""
    (redis.go_on if running else redis.stop)()
    wanted = "ready" if running else "degraded"
    end = time.monotonic() + READY_WITHIN
    while (found := house.status()) != wanted:
        if time.monotonic() > end:
            raise Void(f"the gateway is {found}, not {wanted}, {READY_WITHIN:g} s after Redis was told")
        time.sleep(0.1)


def added_of(pairs: list[Pair]) -> float:
    """Milliseconds: the median rise of the p99."""
    return median(pair.added_ms for pair in pairs)


def misses(pairs: list[Pair], most_ms: float) -> list[str]:
    """What is wrong. most_ms: what the p99 may rise by."""
    found = []
    for pair in pairs:
        for name, answered in (("running", pair.running), ("stopped", pair.stopped)):
            if lost := answered.refused + answered.broken + answered.unfinished:
                found.append(f"Redis {name}: {lost} of {answered.offered} requests were not answered")
    if pairs and (added := added_of(pairs)) > most_ms:
        found.append(f"with Redis stopped the p99 rose by {added:.1f} ms, at most {most_ms:g} may be")
    return found
