"""`python -m bench.memory`: bytes per idle stream and per stalled reader, and the soak.

Owns the command line, who is measured, and the goals. Exits 1 when something is void or a goal is missed, 2 when it
cannot be run here.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from bench.memory.growth import Growth, measure_idle, measure_stalled
from bench.memory.soak import Soak, soak
from bench.options import finish, guarded, steps, suite_parser
from bench.record import Record, make_record
from bench.stage import LOAD_CPU
from bench.stage.callers import Callers, Load, make_body, make_callers, write_load
from bench.stage.certificate import make_certificate
from bench.stage.gateway import DOORS, Door, Plan, Subject, start_gateway
from bench.stage.peers import STARTERS
from bench.stage.programs import Programs, Void, require
from bench.stage.upstreams import Upstream, start_paced

Part = Literal["idle", "stalled", "soak"]
PARTS: tuple[Part, ...] = ("idle", "stalled", "soak")
PEERS = ("haproxy", "nginx")
PEER_STREAMS = 7_500
"""haproxy's and nginx's one process holds two descriptors per stream, of at most 20,000."""
KIB = 1024
#: Most bytes per stream, by name and kind.
GOALS = {
    ("native", "idle"): 8 * KIB,
    ("granian", "idle"): 40 * KIB,
    ("native-tls", "idle"): 64 * KIB,
    ("native", "stalled"): 256 * KIB,
    ("granian", "stalled"): 1024 * KIB,
}
SLOPE_GOAL = 1.0
"""MiB per 100,000 requests."""
SPARE_DESCRIPTORS = 2


class Figures(msgspec.Struct):
    growth: list[Growth]
    soaks: list[Soak]


class Course(msgspec.Struct, frozen=True):
    """What is run: streams at the last level, stalled readers, workers, and minutes of each door's soak."""

    parts: tuple[Part, ...] = PARTS
    streams: int = 4_000
    stalled: int = 200
    workers: int = 1
    minutes: float = 2.0
    names: tuple[str, ...] = ("native", "granian", "native-tls", *PEERS, "nginx-tls")


QUICK = Course(PARTS, 40, 8, 1, 0.02, ("native",))


def parse(arguments: list[str]) -> argparse.Namespace:
    course = Course()
    parser = suite_parser("memory", __doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="this part alone (again for more)")
    parser.add_argument("--proxy", action="append", choices=course.names, help="this one alone (again for more)")
    parser.add_argument("--streams", type=int, default=course.streams, help="idle streams at most (%(default)s)")
    parser.add_argument("--stalled", type=int, default=course.stalled, help="stalled readers at most (%(default)s)")
    parser.add_argument("--workers", type=int, default=course.workers, help="of Fastpath (%(default)s)")
    parser.add_argument("--minutes", type=float, default=course.minutes, help="of each door's soak (%(default)s)")
    return parser.parse_args(arguments)


def course_of(options: argparse.Namespace) -> Course:
    """The course that the command line asks for; with several workers, Fastpath alone."""
    if options.quick:
        return QUICK
    fitting = Course().names if options.workers == 1 else ("native", "granian", "native-tls")
    names = tuple(name for name in fitting if name in (options.proxy or fitting))
    parts = tuple(options.part or PARTS)
    return Course(parts, options.streams, options.stalled, options.workers, options.minutes, names)


class House:
    """Model servers that hold or pour, and the proxies before them, started when they are asked for."""

    def __init__(self, programs: Programs, workers: int) -> None:
        self._programs = programs
        self._workers = workers
        self._callers: Callers = make_callers(programs.folder / "state")
        self.load: Load = write_load(programs.folder, "held", self._callers.tokens, make_body("request_stream"))

    def upstream(self, kind: Part, secure: bool) -> Upstream:
        """One that says a word and holds, or one that never stops."""
        pace = "firehose" if kind == "stalled" else "hold"
        certificate = make_certificate(self._programs.folder) if secure else None
        return start_paced(self._programs, 1, ("--pace", pace), certificate)

    def subject(self, name: str, kind: Part) -> Subject:
        """A fresh one each time: what it held before is no part of the figure."""
        base, _, secure = name.partition("-")
        upstream, label = self.upstream(kind, bool(secure)), f"{name}-{kind}"
        if base in PEERS:
            return msgspec.structs.replace(STARTERS[base](self._programs, upstream, label), name=name)
        door: Door = "native" if base == "native" else "granian"
        plan = Plan(upstream.urls, door, self._workers, upstream.ca)
        return msgspec.structs.replace(start_gateway(self._programs, plan, self._callers, label), name=name)


def idle_counts(name: str, streams: int) -> list[int]:
    """A quarter, a half, all of the streams; fewer for peers, whose process has no more descriptors."""
    most = min(streams, PEER_STREAMS) if name.partition("-")[0] in PEERS else streams
    return [most // 4, most // 2, most]


def measurements(course: Course) -> list[tuple[Part, str]]:
    """What is measured, in order."""
    kinds = [part for part in course.parts if part != "soak"]
    found: list[tuple[Part, str]] = [(kind, name) for kind in kinds for name in course.names if fits(kind, name)]
    doors = [name for name in course.names if name in DOORS]
    return found + [("soak", door) for door in doors if "soak" in course.parts]


def fits(kind: Part, name: str) -> bool:
    """Stalled readers are measured without TLS alone."""
    return kind == "idle" or "-" not in name


def measure(folder: Path, course: Course, figures: Figures, voids: list[str]) -> Iterator[None]:
    """Everything in turn, each with processes of its own."""
    for number, (part, name) in enumerate(measurements(course)):
        own = folder / f"{number}"
        own.mkdir()
        with Programs(own) as programs:
            try:
                _measure(programs, course, part, name, figures)
            except (Void, OSError) as problem:
                voids.append(f"{part}, {name}: {problem}")
        yield


def _measure(programs: Programs, course: Course, part: Part, name: str, figures: Figures) -> None:
    if part == "soak":
        figures.soaks.append(soak(programs, "native" if name == "native" else "granian", course.minutes))
        return
    house = House(programs, course.workers)
    counts = idle_counts(name, course.streams) if part == "idle" else [course.stalled // 4, course.stalled]
    grow: Callable[[Subject, Load, Sequence[int]], Growth] = measure_idle if part == "idle" else measure_stalled
    figures.growth.append(grow(house.subject(name, part), house.load, counts))


def missed_goals(figures: Figures) -> list[str]:
    """Goals missed, in words."""
    missed = [
        f"{found.kind}, {found.name}: {found.per_stream / KIB:.1f} KiB per stream, at most {limit // KIB}"
        for found in figures.growth
        if (limit := GOALS.get((found.name, found.kind))) and found.per_stream > limit
    ]
    for run in figures.soaks:
        if run.slope_mb > SLOPE_GOAL:
            missed.append(f"soak, {run.door}: {run.slope_mb:.2f} MiB per 100,000 requests, at most {SLOPE_GOAL}")
        if run.after.descriptors > run.before.descriptors + SPARE_DESCRIPTORS or run.after.in_flight:
            held = f"{run.after.descriptors} descriptors and {run.after.in_flight} requests"
            missed.append(f"soak, {run.door}: {held} left, {run.before.descriptors} and 0 before")
    return missed


def run(options: argparse.Namespace) -> Record:
    """All parts, as a record."""
    require("haproxy", "nginx")
    course, figures, voids = course_of(options), Figures([], []), list[str]()
    os.sched_setaffinity(0, {LOAD_CPU})  # this process holds the streams
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = measure(Path(folder), course, figures, voids)
        list(steps(work, "memory", len(measurements(course))))
    return make_record("memory", msgspec.to_builtins(course), figures, voids, missed_goals(figures))


def show(record: Record, console: Console) -> None:
    """Prints bytes per stream, and the soaks."""
    figures = msgspec.convert(record.figures, Figures)
    table = Table(title=f"memory, {record.date}")
    for heading in ("streams", "proxy", "workers", "KiB per stream", "from", "to"):
        table.add_column(heading, justify="left" if heading in ("streams", "proxy") else "right")
    for row in figures.growth:
        ends = (f"{row.levels[0].streams:,}", f"{row.levels[-1].streams:,}")
        table.add_row(row.kind, row.name, str(row.workers), f"{row.per_stream / KIB:.1f}", *ends)
    console.print(table)
    for soaked in figures.soaks:
        counts = msgspec.to_builtins(soaked.counts)
        console.print(
            f"soak, {soaked.door}, {soaked.minutes} min: {soaked.slope_mb:+.2f} MiB per 100,000 requests", counts
        )
        console.print(f"  before {soaked.before}")
        console.print(f"  after  {soaked.after}")


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    return finish(run(options), options, show)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
