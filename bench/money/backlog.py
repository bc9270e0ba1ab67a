"""How far the books fall behind under a rate, sampled while it lasts, and how soon they catch up.

Owns the open-loop load beside the looks, and what of them says that a backlog has a bound. Concurrency: the client is a
process of its own.
"""

import subprocess
import time
from collections.abc import Sequence
from statistics import mean

import msgspec

from bench.money.house import Backlog, House
from bench.slo.client import Answered, Arrivals, OpenLoop, decode
from bench.stage.callers import Load
from bench.stage.programs import Void

LOOK_S = 1.0
GROWTH, ALLOWED_MB = 1.5, 16.0
"""The last third of the looks may show that much more backlog, as a factor and in MiB, than the second third."""
LONGEST_LAG_S = 30.0
DRAINED_S = 60.0


class Look(msgspec.Struct, frozen=True):
    """At so many seconds from the start."""

    at: float
    backlog: Backlog


class Course(msgspec.Struct, frozen=True):
    """A whole run. `drained_s`: from the last answer until nothing waited."""

    rate: float
    seconds: float
    answered: Answered
    looks: list[Look]
    drained_s: float

    @property
    def peak_mb(self) -> float:
        """The most that waited, MiB."""
        return max((look.backlog.backlog_bytes for look in self.looks), default=0) / 2**20

    @property
    def longest_lag_s(self) -> float:
        return max((look.backlog.lag_seconds for look in self.looks), default=0.0)


def run_course(house: House, client: OpenLoop, load: Load, rate: float, seconds: float) -> Course:
    """Loads it at a constant rate and looks at the backlog every second. Raises Void when the client fails."""
    begun = house.backlog().settled
    arrivals = Arrivals(rate, seconds, warm_up=0.0, pace="constant")
    command = client.command(house.subject.port, load, arrivals)
    start = time.monotonic()
    looks: list[Look] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            looks.append(Look(time.monotonic() - start, house.backlog()))
            time.sleep(LOOK_S)
        out, err = process.communicate()
    if process.returncode != 0:
        raise Void(f"the client ended: {err.strip()[-500:]}")
    answered, ended = decode(out), time.monotonic()
    house.wait_empty(begun + answered.ok, DRAINED_S * 2)
    return Course(rate, seconds, answered, looks, time.monotonic() - ended)


def misses(course: Course) -> list[str]:
    """What is wrong with it; nothing: the backlog has a bound."""
    found = []
    lost = course.answered.refused + course.answered.broken + course.answered.unfinished
    if lost:
        found.append(f"{lost} of {course.answered.offered} requests were not answered")
    if course.answered.offered < 0.99 * course.rate * course.seconds:
        found.append(f"only {course.answered.offered} requests were offered in {course.seconds:g} s")
    if course.longest_lag_s > LONGEST_LAG_S:
        found.append(f"the books were {course.longest_lag_s:.1f} s behind, at most {LONGEST_LAG_S:g}")
    if course.drained_s > DRAINED_S:
        found.append(f"it took {course.drained_s:.1f} s to catch up, at most {DRAINED_S:g}")
    if (grown := growth(course.looks)) is not None:
        found.append(grown)
    return found


def growth(looks: Sequence[Look]) -> str | None:
    """Why the backlog seems to grow without a bound; None when it does not. It is told from the last two thirds."""
    third = len(looks) // 3
    if not third:
        return None
    middle, last = (mean(look.backlog.segment_bytes for look in part) for part in (looks[third:-third], looks[-third:]))
    if last > middle * GROWTH and last > middle + ALLOWED_MB * 2**20:
        return f"segments grow: {middle / 2**20:.0f} MiB in the middle of the run, {last / 2**20:.0f} at its end"
    return None
