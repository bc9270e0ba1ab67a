"""What callers notice when the Redis that limits and budgets are shared through is stopped (SIGSTOP: it answers nothing
and refuses nothing): from the moment of it, which they are there for.

Owns rounds in which Redis runs and in which it stops, in turned order, and what they say. Judges them by their p99.
"""

import concurrent.futures
import os
import signal
import time
from collections.abc import Callable
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
LOOK_S = 0.1
STOPPED_AFTER = 0.2
"""Seconds of the measured span."""


class Pair(msgspec.Struct, frozen=True):
    """The same callers with Redis running, and while it stops and is stopped; what else they are told is in neither."""

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
    """One round; Redis runs before it and when it is over. Raises Void."""
    arrivals = Arrivals(RATE, seconds, warm_up=0.5)
    found = {}
    for running in (first_running, not first_running):
        _await(house, "ready")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answered = pool.submit(client.run, house.subject.port, load, arrivals)
            if not running:
                _stop_meanwhile(house, redis, arrivals, answered.done)
            found[running] = answered.result()
    _await(house, "ready")
    return Pair(found[True], found[False])


def _stop_meanwhile(house: House, redis: Redis, arrivals: Arrivals, over: Callable[[], bool]) -> None:
    """Stops Redis inside the measured span, and lets it go on when the client is `over`. Raises Void when the node does
    not say that it noticed."""
    time.sleep(arrivals.warm_up + STOPPED_AFTER)
    if over():
        raise Void("the client ended before Redis was stopped")
    redis.stop()
    try:
        _await(house, "degraded")
        while not over():
            time.sleep(LOOK_S)
    finally:
        redis.go_on()


def await_part(house: House, client: OpenLoop, load: Load) -> None:
    """Until the node has a part of what is shared, and serves. Raises Void."""
    end = time.monotonic() + READY_WITHIN
    while client.run(house.subject.port, load, Arrivals(RATE, 0.5, warm_up=0.0)).refused:
        if time.monotonic() > end:
            raise Void(f"requests are still refused {READY_WITHIN:g} s after the start")


def _await(house: House, wanted: str) -> None:
    """Until the node says so. Raises Void when it does not."""
    end = time.monotonic() + READY_WITHIN
    while (found := house.status()) != wanted:
        if time.monotonic() > end:
            raise Void(f"the gateway is {found}, not {wanted}, {READY_WITHIN:g} s after Redis was told")
        time.sleep(LOOK_S)


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
