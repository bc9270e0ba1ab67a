"""The soak: a series of what the gateway holds while load of all kinds runs, and its slope over requests.

Owns sampling and the slope. The load is a process of its own (`soaker`).
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence

import msgspec

from bench.e2e.books import read_metrics
from bench.memory.soaker import Counts
from bench.stage import LOAD_CPU
from bench.stage.callers import make_body, make_callers, write_load
from bench.stage.gateway import Door, Plan, Subject, start_gateway
from bench.stage.proc import descriptors, family, rss_mb, threads
from bench.stage.programs import Programs, Void
from bench.stage.upstreams import start_paced

WARM = 0.2
"""Share of the series that is left out of the slope: tables and pools fill then."""
CALM = 15.0
"""Seconds after the load in which descriptors must be back; idle connections to a model server are kept for 4."""


class Sample(msgspec.Struct, frozen=True):
    """`in_flight`: requests that the workers say they carry, which is the tasks they own."""

    seconds: float
    requests: int
    rss_mb: float
    descriptors: int
    threads: int
    in_flight: int


class Soak(msgspec.Struct, frozen=True):
    """`slope_mb`: MiB per 100,000 requests after the warm part. `before` and `after` are without any load."""

    door: str
    minutes: float
    counts: Counts
    series: list[Sample]
    slope_mb: float
    before: Sample
    after: Sample


def soak(programs: Programs, door: Door, minutes: float, connections: int = 32) -> Soak:
    """One door for so long. Raises Void when the load saw anything but what was due."""
    callers = make_callers(programs.folder / "soak-state")
    upstream = start_paced(programs, 1, ("--tick-ms", "4", "--count", "8"))
    subject = start_gateway(programs, Plan(upstream.urls, door), callers, f"soak-{door}")
    for name in ("request", "request_stream"):
        write_load(programs.folder, f"soak-{name}", callers.tokens, make_body(name))
    began = time.monotonic()
    before = look(subject, began)
    seconds = minutes * 60
    process = programs.spawn(LOAD_CPU, f"soaker-{door}", _command(programs, subject, connections, seconds))
    series = list(_watch(process, subject, began, max(0.2, seconds / 120)))
    output = programs.output(f"soaker-{door}")
    if process.returncode != 0:
        raise Void(f"the soak's load ended with {process.returncode}: {output.strip()[-500:]}")
    counts = msgspec.json.decode(output, type=Counts)
    return Soak(door, minutes, counts, series, slope_mb(series), before, _calm(subject, began, before))


def _command(programs: Programs, subject: Subject, connections: int, seconds: float) -> list[str]:
    loads = [
        "--plain",
        str(programs.folder / "soak-request"),
        "--streamed",
        str(programs.folder / "soak-request_stream"),
    ]
    numbers = ["--connections", str(connections), "--seconds", str(seconds)]
    return [sys.executable, "-m", "bench.memory.soaker", "--port", str(subject.port), *loads, *numbers]


def _watch(process: "subprocess.Popen[bytes]", subject: Subject, began: float, every: float) -> list[Sample]:
    series = []
    while process.poll() is None:
        series.append(look(subject, began))
        try:
            process.wait(every)
        except subprocess.TimeoutExpired:
            continue
    return [*series, look(subject, began)]


def _calm(subject: Subject, began: float, before: Sample) -> Sample:
    """The state without load, as soon as it is what it was; as it is when that does not happen."""
    end = time.monotonic() + CALM
    while True:
        found = look(subject, began)
        if (found.descriptors <= before.descriptors and not found.in_flight) or time.monotonic() > end:
            return found
        time.sleep(0.2)


def look(subject: Subject, began: float) -> Sample:
    """What the gateway holds now."""
    pids = family(subject.pid)
    requests = int(read_metrics(subject.admin).get("ai_inference_requests_total", 0))
    with urllib.request.urlopen(f"http://127.0.0.1:{subject.admin}/debug/requests", timeout=10) as answer:
        in_flight = len(json.load(answer))
    held = (rss_mb(pids), descriptors(pids), threads(pids))
    return Sample(time.monotonic() - began, requests, *held, in_flight)


def slope_mb(series: Sequence[Sample]) -> float:
    """MiB per 100,000 requests: least squares over the series without its warm part; 0 when nothing was served."""
    points = [(sample.requests, sample.rss_mb) for sample in series[int(len(series) * WARM) :]]
    mean_x, mean_y = (sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread * 100_000 if spread else 0.0
