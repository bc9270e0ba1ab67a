"""One stream without pauses, and how soon the same worker answers /healthz meanwhile."""

import subprocess
import sys
import time

import msgspec

from bench.e2e.books import read_metrics
from bench.load.probe import HEALTH, Probe
from bench.stage import LOAD_CPU
from bench.stage.callers import make_body, make_callers, write_load
from bench.stage.gateway import Door, Plan, Subject, start_gateway
from bench.stage.programs import Programs, Void
from bench.stage.upstreams import start_paced

EVERY = 0.01
"""Seconds between two looks at the worker's health."""
BEGINS_WITHIN = 5.0
GOAL_MS = 10.0


class Waits(msgspec.Struct, frozen=True):
    """Milliseconds that answers took."""

    count: int
    p50: float
    p99: float
    max: float


class Firehose(msgspec.Struct, frozen=True):
    """Health of one worker without and beside the stream, which moved so many MB a second."""

    door: str
    idle: Waits
    beside: Waits
    mb_per_s: float


def measure_firehose(programs: Programs, door: Door, seconds: float) -> Firehose:
    """One door. Raises Void when the stream ended or the worker's health was not 200."""
    callers = make_callers(programs.folder / "state")
    upstream = start_paced(programs, 1, ("--pace", "firehose"))
    subject = start_gateway(programs, Plan(upstream.urls, door), callers, f"firehose-{door}")
    write_load(programs.folder, "firehose", callers.tokens, make_body("request_stream"))
    with Probe(subject.port, HEALTH) as probe:
        idle = watch(probe, seconds)
        where = [str(subject.port), str(programs.folder / "firehose"), f"{seconds + 1:g}"]
        reader = programs.spawn(LOAD_CPU, "reader", [sys.executable, "-m", "bench.overload.reader", *where])
        _await_stream(subject)
        beside = watch(probe, seconds)
    _await_end(reader)
    output = programs.output("reader")
    if reader.returncode != 0:
        raise Void(f"the stream ended by itself: {output[-500:]}")
    return Firehose(door, idle, beside, float(output) / 1e6)


def _await_end(reader: "subprocess.Popen[bytes]") -> None:
    try:
        reader.wait(30)
    except subprocess.TimeoutExpired:
        raise Void("the stream's reader does not end") from None


def _await_stream(subject: Subject) -> None:
    """Returns once the gateway carries the stream. Raises Void when it does not come."""
    end = time.monotonic() + BEGINS_WITHIN
    while not read_metrics(subject.admin).get("ai_inference_in_flight", 0):
        if time.monotonic() > end:
            raise Void("the stream did not begin")
        time.sleep(EVERY)


def watch(probe: Probe, seconds: float) -> Waits:
    """Asks every EVERY seconds. Raises Void for an answer that is not 200."""
    took, due = [], time.perf_counter()
    end = due + seconds
    while due < end:
        status, wait = probe.ask()
        if status != 200:
            raise Void(f"/healthz answered {status}")
        took.append(wait)
        due = max(due + EVERY, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))
    return waits(took)


def waits(seconds: list[float]) -> Waits:
    """Milliseconds, sorted out."""
    ordered = sorted(second * 1e3 for second in seconds)
    return Waits(len(ordered), ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1])
