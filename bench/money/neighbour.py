"""What a tenant notices of another one that asks ten times as much as it may.

Owns rounds in which the quiet tenant is measured alone and beside the loud one, in turned order. Does not judge.
"""

import subprocess
from statistics import median

import msgspec

from bench.money.house import House, Tenant
from bench.slo.client import Answered, Arrivals, OpenLoop, decode
from bench.stage.callers import Load
from bench.stage.programs import Void

LOUD, QUIET = "loud", "quiet"
LIMIT, BURST, TIMES = 100, 20, 10
"""Requests per second that the loud one may send, and how many times as many it does send."""
TENANTS = (Tenant(LOUD, ({"count": "requests", "most": LIMIT, "per": "second", "burst": BURST},)), Tenant(QUIET))
QUIET_RATE = 200.0
TOLERANCE = 1.02


class Pair(msgspec.Struct, frozen=True):
    """The quiet one alone and beside the loud one, and what became of the loud one's requests."""

    alone: Answered
    beside: Answered
    loud: Answered

    @property
    def added(self) -> float:
        """The share by which the quiet one's p95 rose."""
        return self.beside.latency.p95 / self.alone.latency.p95 - 1


def measure_pair(house: House, client: OpenLoop, loads: dict[str, Load], seconds: float, *, first_alone: bool) -> Pair:
    """One round. Raises Void."""
    quiet = Arrivals(QUIET_RATE, seconds, warm_up=0.5)
    if first_alone:
        alone = client.run(house.subject.port, loads[QUIET], quiet)
        beside, loud = _both(house, client, loads, quiet)
    else:
        beside, loud = _both(house, client, loads, quiet)
        alone = client.run(house.subject.port, loads[QUIET], quiet)
    return Pair(alone, beside, loud)


def _both(house: House, client: OpenLoop, loads: dict[str, Load], quiet: Arrivals) -> tuple[Answered, Answered]:
    """The loud one begins before the quiet one's warm-up is over, and ends after it."""
    noise = Arrivals(LIMIT * TIMES, quiet.seconds + 1, warm_up=0.0, pace="constant")
    command = client.command(house.subject.port, loads[LOUD], noise)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        found = client.run(house.subject.port, loads[QUIET], quiet)
        out, err = process.communicate()
    if process.returncode != 0:
        raise Void(f"the loud client ended: {err.strip()[-500:]}")
    return found, decode(out)


def added_of(pairs: list[Pair]) -> float:
    """The median rise of the quiet one's p95."""
    return median(pair.added for pair in pairs)


def misses(pairs: list[Pair], seconds: float, most: float) -> list[str]:
    """What is wrong. most: the share by which the quiet one's p95 may rise."""
    found = []
    for pair in pairs:
        for name, answered in (("alone", pair.alone), ("beside", pair.beside)):
            if lost := answered.refused + answered.broken + answered.unfinished:
                found.append(f"the quiet tenant, {name}: {lost} of {answered.offered} requests were not answered")
        allowed = (LIMIT * (seconds + 1) + BURST) * TOLERANCE
        if pair.loud.ok > allowed:
            found.append(f"the loud tenant got {pair.loud.ok} answers, at most {allowed:.0f} may be")
    if pairs and (added := added_of(pairs)) > most:
        found.append(f"the quiet tenant's p95 rose by {added:.1%}, at most {most:.0%} may be")
    return found
