"""More requests than the CPU can serve, each on a connection of its own: who is served, how soon, what is left.

Times are the caller's, from connect to last byte; refusals are counted apart. The worker has one CPU, the client and
the model server (one program, one thread) the other. Owns the phases: what can be served, quarter load, nine tenths,
once, twice and five times as much, and the quarter load that follows twice.

The machine is shown beside it: the client on its own model server without a gateway. Void: an overload that the client
could not make, or for which the gateway did not have its CPU.
"""

import time
from collections.abc import Iterator

import msgspec

from bench.overload.client import Arrivals, Churn, Phase, Report, decode
from bench.overload.firehose import Waits
from bench.stage.callers import long_body, make_callers, write_load
from bench.stage.gateway import Door, Plan, Subject, start_gateway
from bench.stage.proc import cpu_seconds, descriptors, family, waiting_to_be_accepted
from bench.stage.programs import Programs, Void
from loadtest.ports import free_ports

BODY = 8_000
"""Bytes of a request: a conversation of some turns. With less, the client is at its limit before twice the load."""
CALLERS = 32
"""In the closed loop that says what can be served."""
UNLOADED, NEARLY = 0.25, 0.9
"""Shares of that at which nobody waits, and at which nobody may be refused."""
LEVELS = (1.0, 2.0, 5.0)
TWICE = 2.0
LATENCY_GOAL, RECOVERY_GOAL, GOODPUT_GOAL, REFUSAL_GOAL_MS = 2.0, 5.0, 0.95, 50.0
SATURATED = 90.0
"""Per cent of a CPU that the gateway must have had for the overload to be one."""
DELIVERED = 0.95
"""Share of the arrivals that the client must have made."""


class Admitted(msgspec.Struct, frozen=True):
    """Requests answered 200 with their times, and those refused."""

    answered: Waits
    refused: int


class Look(msgspec.Struct, frozen=True):
    """The gateway from outside, so many seconds into the overload."""

    seconds: float
    waiting: int
    descriptors: int


class Pressure(msgspec.Struct, frozen=True):
    """A load of `times` what can be served. `void`: why it says nothing, or nothing."""

    times: float
    phase: Phase
    cpu_percent: float
    void: str = ""


class Saturation(msgspec.Struct, frozen=True):
    """`peak`: requests a second that can be served. `unloaded`, `loaded`: at a quarter of it and at twice.
    `recovery_s`: from the end of twice the load to the first of 20 answers in a row that are quick again; None: none.
    """

    door: str
    peak: float
    rate: float
    cpu_percent: float
    unloaded: Admitted
    loaded: Admitted
    looks: list[Look]
    recovery_s: float | None
    nearly: Phase | None = None
    levels: list[Pressure] = []
    direct_p99_ms: float = 0.0


class Stage:
    """A gateway and its client."""

    def __init__(self, programs: Programs, door: Door) -> None:
        callers = make_callers(programs.folder / "state")
        load = write_load(programs.folder, "overload", callers.tokens, long_body(BODY))
        (upstream,) = free_ports(1)
        self.client = Churn(programs.folder, load, upstream)
        plan = Plan((f"http://127.0.0.1:{upstream}/v1",), door)
        self.subject: Subject = start_gateway(programs, plan, callers, f"overload-{door}")
        self.looks: list[Look] = []

    def load(self, arrivals: Arrivals, *, look: bool = False) -> tuple[Report, float]:
        """The client's report, and per cent of a CPU that the gateway used until the load was over."""
        pids = family(self.subject.pid)
        cpu, began = cpu_seconds(pids), time.monotonic()
        until = began + arrivals.warm_up + arrivals.seconds
        with self.client.running(self.subject.port, arrivals) as process:
            seen = list(_watch(self.subject, until, 0.05 if look else 1.0))
            percent = (cpu_seconds(pids) - cpu) / (time.monotonic() - began) * 100
            out, _ = process.communicate(timeout=60)
        self.looks += seen if look else []
        return decode(process, out), percent


def measure_saturation(programs: Programs, door: Door, seconds: float) -> Saturation:
    """One door through all phases. Raises Void when twice the load was none."""
    stage = Stage(programs, door)
    peak = stage.load(Arrivals(0, seconds / 2, CALLERS))[0].steady.goodput
    unloaded = stage.load(Arrivals(peak * UNLOADED, seconds / 2))[0].steady
    direct = stage.client.direct(Arrivals(peak * UNLOADED, seconds / 2)).steady
    nearly = stage.load(Arrivals(peak * NEARLY, seconds / 2))[0].steady
    levels, recovery = list[Pressure](), None
    for times in LEVELS:
        after = peak * UNLOADED if times == TWICE else 0.0
        arrivals = Arrivals(times * peak, seconds, after=after, quick_ms=LATENCY_GOAL * unloaded.admitted.p99)
        report, percent = stage.load(arrivals, look=times == TWICE)
        levels.append(Pressure(times, report.steady, percent, _why_void(report.steady, percent, times)))
        if times == TWICE:
            recovery = report.recovered_s if report.recovered_s >= 0 else None
    twice = next(level for level in levels if level.times == TWICE)
    if twice.void:
        raise Void(twice.void)
    found = Saturation(
        door=door,
        peak=peak,
        rate=twice.phase.sent,
        cpu_percent=twice.cpu_percent,
        unloaded=admitted(unloaded),
        loaded=admitted(twice.phase),
        looks=stage.looks,
        recovery_s=recovery,
        nearly=nearly,
        levels=levels,
        direct_p99_ms=direct.admitted.p99,
    )
    return found


def _why_void(phase: Phase, percent: float, times: float) -> str:
    if phase.offered - phase.unsent < DELIVERED * phase.offered:
        return f"the client made {(phase.offered - phase.unsent) / phase.offered:.0%} of {times:g} times the load"
    if times > 1 and percent < SATURATED:
        return f"the gateway used {percent:.0f} % of its CPU: it was not saturated, or not alone there"
    return ""


def admitted(phase: Phase) -> Admitted:
    """A phase in short. Raises Void when nobody was served."""
    times = phase.admitted
    if not times.count:
        raise Void("nobody was answered")
    return Admitted(Waits(times.count, times.p50, times.p99, times.max), phase.refused)


def _watch(subject: Subject, until: float, every: float) -> Iterator[Look]:
    pids, began = family(subject.pid), time.monotonic()
    while (now := time.monotonic()) < until:
        yield Look(now - began, waiting_to_be_accepted(subject.port), descriptors(pids))
        time.sleep(max(0.0, min(every, until - time.monotonic())))


def missed_goals(found: Saturation) -> list[str]:
    """Goals missed, in words."""
    missed = []
    ratio = found.loaded.answered.p99 / found.unloaded.answered.p99
    if ratio > LATENCY_GOAL:
        missed.append(f"{found.door}: the p99 of admitted requests is {ratio:.1f} times the unloaded one, at most 2")
    if found.nearly is not None and found.nearly.refused:
        missed.append(f"{found.door}: {found.nearly.refused} requests were refused at nine tenths of the peak")
    if found.recovery_s is None or found.recovery_s >= RECOVERY_GOAL:
        missed.append(f"{found.door}: recovered after {found.recovery_s} s, under {RECOVERY_GOAL:g}")
    for level in found.levels:
        if level.times == 1 or level.void:
            continue
        share, slow = level.phase.goodput / found.peak, level.phase.turned_away.p99
        if share < GOODPUT_GOAL:
            missed.append(f"{found.door}: {share:.0%} of the peak is served at {level.times:g} times it, at least 95 %")
        if slow > REFUSAL_GOAL_MS:
            missed.append(f"{found.door}: refusals take {slow:.0f} ms at {level.times:g} times the peak, at most 50")
    return missed
