"""Twice the requests that the CPU can serve, connections coming and going: who is admitted, how soon, and what is left.

The latency of admitted requests is the gateway's own, from its access log: a caller that waits in the accept queue has
not been admitted, and cannot tell. Owns the phases: peak, unloaded, overload, recovery.
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.e2e.books import open_books, read_books
from bench.load.probe import Probe, await_answer, first_request
from bench.load.requests import measure_requests
from bench.overload.firehose import Waits, waits
from bench.slo.client import Answered, Arrivals, OpenLoop, decode
from bench.stage.callers import Load, make_body, make_callers, write_load
from bench.stage.gateway import Door, Plan, Subject, start_gateway
from bench.stage.proc import cpu_seconds, descriptors, family, waiting_to_be_accepted
from bench.stage.programs import Programs, Void
from bench.stage.upstreams import start_plain

CHURN = 8
"""Requests per connection."""
CALLERS = 4_000
"""Connections that callers have at most."""
UNLOADED = 0.25
"""Share of the peak at which the gateway counts as unloaded."""
LATENCY_GOAL, RECOVERY_GOAL = 2.0, 5.0
STEADY = 20
"""Answers in a row that must be quick again."""
GIVE_UP = 15.0
SATURATED = 90.0
"""Per cent of a CPU that the gateway must use for the overload to be one."""


class Line(msgspec.Struct):
    """What is read of a line of the access log."""

    status: int
    total_ms: float


class Admitted(msgspec.Struct, frozen=True):
    """Of the access log: requests answered 200 with their times, and others."""

    answered: Waits
    refused: int


class Look(msgspec.Struct, frozen=True):
    """The gateway from outside, so many seconds into the overload."""

    seconds: float
    waiting: int
    descriptors: int


class Saturation(msgspec.Struct, frozen=True):
    """`recovery_s`: from the end of the overload to the first of 20 quick answers in a row; None: not in 15 s."""

    door: str
    peak: float
    rate: float
    cpu_percent: float
    unloaded: Admitted
    loaded: Admitted
    client: Answered
    looks: list[Look]
    recovery_s: float | None


def measure_saturation(programs: Programs, door: Door, seconds: float) -> Saturation:
    """One door through all phases. Raises Void when the overload was none."""
    callers = make_callers(programs.folder / "state")
    load = write_load(programs.folder, "overload", callers.tokens, make_body("request"))
    subject = start_gateway(programs, Plan(start_plain(programs, 1).urls, door), callers, f"overload-{door}")
    await_answer(subject.port, load)
    client = OpenLoop(programs.folder)
    peak = measure_requests(subject, load, 64, max(1, int(seconds / 2)), 1).rps
    unloaded = _unloaded(subject, load, client, peak * UNLOADED, seconds)
    usual = waits([ask_anew(subject.port, load) for _ in range(100)])
    open_books(subject)
    pids = family(subject.pid)
    cpu, began = cpu_seconds(pids), time.monotonic()
    arrivals = Arrivals(2 * peak, seconds, 0, CALLERS, "poisson", CHURN)
    process = subprocess.Popen(client.command(subject.port, load, arrivals), stdout=subprocess.PIPE, text=True)
    try:
        looks = list(_watch(subject, began, seconds))
        percent = (cpu_seconds(pids) - cpu) / (time.monotonic() - began) * 100
        recovery = measure_recovery(subject.port, load, usual)
        found = decode(process.communicate(timeout=60)[0])
    finally:
        process.kill()
        process.wait()
    if percent < SATURATED:
        raise Void(f"the gateway used {percent:.0f} % of its CPU: it was not saturated, or not alone there")
    loaded = read_admitted(subject)
    return Saturation(door, peak, 2 * peak, percent, unloaded, loaded, found, looks, recovery)


def _unloaded(subject: Subject, load: Load, client: OpenLoop, rate: float, seconds: float) -> Admitted:
    before = open_books(subject)
    client.run(subject.port, load, Arrivals(rate, seconds, 0, CALLERS, "poisson", CHURN))
    read_books(subject, before)  # returns once the log's thread has written what was left
    return read_admitted(subject)


def _watch(subject: Subject, began: float, seconds: float) -> Iterator[Look]:
    pids = family(subject.pid)
    while (now := time.monotonic() - began) < seconds:
        yield Look(now, waiting_to_be_accepted(subject.port), descriptors(pids))
        time.sleep(0.05)


def measure_recovery(port: int, load: Load, usual: Waits) -> float | None:
    """Seconds from now to the first of STEADY answers in a row that take at most twice what the slowest took before."""
    began, first, quick = time.monotonic(), None, 0
    while quick < STEADY:
        asked = time.monotonic() - began
        if asked > GIVE_UP:
            return None
        if ask_anew(port, load) * 1e3 <= LATENCY_GOAL * usual.max:
            quick += 1
            first = asked if first is None else first
        else:
            quick, first = 0, None
    return first


def ask_anew(port: int, load: Load) -> float:
    """Seconds that a request on a new connection takes; 30 when nothing comes or it is not served."""
    try:
        with Probe(port, first_request(load)) as probe:
            status, took = probe.ask()
    except OSError:
        return 30.0
    return took if status == 200 else 30.0


def read_admitted(subject: Subject) -> Admitted:
    """The access log since it was emptied. Raises Void when nobody was answered."""
    assert subject.log is not None
    lines = read_lines(subject.log)
    times = [line.total_ms / 1e3 for line in lines if line.status == 200]
    if not times:
        raise Void("nobody was answered")
    return Admitted(waits(times), len(lines) - len(times))


def read_lines(path: Path) -> list[Line]:
    """Whole lines of an access log."""
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        return [decoder.decode(line) for line in file if line.endswith(b"\n")]


def missed_goals(found: Saturation) -> list[str]:
    """Goals missed, in words."""
    missed = []
    ratio = found.loaded.answered.p99 / found.unloaded.answered.p99
    if ratio > LATENCY_GOAL:
        missed.append(f"{found.door}: the p99 of admitted requests is {ratio:.1f} times the unloaded one, at most 2")
    if not any(look.waiting for look in found.looks):
        missed.append(f"{found.door}: accepting never paused")
    if found.recovery_s is None or found.recovery_s >= RECOVERY_GOAL:
        missed.append(f"{found.door}: recovered after {found.recovery_s} s, under {RECOVERY_GOAL}")
    return missed
