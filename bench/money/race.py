"""CPU per request with books: the workers' alone, and that of the whole family until the outbox is empty.

Owns one round of haproxy and Fastpath. Does not judge.
"""

import msgspec

from bench.e2e.race import Pace
from bench.load.requests import measure_requests, run_wrk, served
from bench.money.house import House
from bench.stage.callers import Load
from bench.stage.gateway import Subject
from bench.stage.proc import cpu_seconds, family
from bench.stage.programs import Void
from scheduler.clock import Clock


class Round(msgspec.Struct, frozen=True):
    """Microseconds of CPU per request; `empty_s`: from the last answer until everything was in the books."""

    haproxy_us: float
    workers_us: float
    family_us: float
    requests: int
    empty_s: float

    @property
    def workers_ratio(self) -> float:
        return self.workers_us / self.haproxy_us

    @property
    def family_ratio(self) -> float:
        return self.family_us / self.haproxy_us


def race_once(house: House, haproxy: Subject, load: Load, pace: Pace, clock: Clock) -> Round:
    """One round. Raises Void when a request failed, a process ended or the books do not get there."""
    anchor = measure_requests(haproxy, load, pace.connections, pace.seconds, pace.warm_up)
    begun = house.backlog().settled
    begun += served(run_wrk(house.subject.port, load, pace.connections, pace.warm_up))
    rest = house.wait_empty(begun)
    workers, pids = house.workers(), family(house.subject.pid)
    before = cpu_seconds(workers), cpu_seconds(pids)
    count = served(run_wrk(house.subject.port, load, pace.connections, pace.seconds))
    own, ended = cpu_seconds(workers) - before[0], clock.monotonic()
    house.wait_empty(rest.settled + count)
    whole = cpu_seconds(pids) - before[1]
    if set(pids) - set(family(house.subject.pid)):
        raise Void("a counted process ended during the run")
    return Round(
        haproxy_us=anchor.cpu_us,
        workers_us=own / count * 1e6,
        family_us=whole / count * 1e6,
        requests=count,
        empty_s=clock.monotonic() - ended,
    )
