"""`python -m bench.slo`: added latency of requests and streams at shares of each door's peak, open loop.

Owns the command line, the order and the table. Exits 1 when something is void or the goal at half of the peak is
missed, 2 when it cannot be run here.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.options import finish, guarded, steps, suite_parser
from bench.record import Record, make_record
from bench.slo.client import Answered
from bench.slo.house import KINDS, House
from bench.slo.levels import TRIES, Kind, Level, measure_level, missed_goals
from bench.stage.gateway import DOORS, Door
from bench.stage.programs import Programs, Void, require

SHARES = (0.25, 0.5, 0.75, 0.9)
PACES = ("poisson", "constant")


class Figures(msgspec.Struct):
    """Peaks in requests or streams a second by "kind, door"; every level."""

    peaks: dict[str, float]
    levels: list[Level]


class Course(msgspec.Struct, frozen=True):
    """What is run. Seconds are those of one open-loop run, after its warm-up."""

    doors: tuple[Door, ...] = DOORS
    shares: tuple[float, ...] = SHARES
    seconds: float = 8.0
    warm_up: float = 2.0
    tries: int = TRIES
    peak_seconds: int = 4
    streams: int = 300

    def count(self) -> int:
        """Levels that will be measured."""
        return len(self.doors) * len(self.shares) * (len(PACES) + 1)


QUICK = Course(("native",), (0.25,), 0.6, 0.2, 1, 1, 20)


def parse(arguments: list[str]) -> argparse.Namespace:
    course = Course()
    parser = suite_parser("slo", __doc__)
    parser.add_argument("--door", action="append", choices=DOORS, help="measure this door alone")
    parser.add_argument("--share", action="append", type=float, help="of the peak, again for more (0.25 0.5 0.75 0.9)")
    parser.add_argument("--seconds", type=float, default=course.seconds, help="of each open-loop run (%(default)s)")
    return parser.parse_args(arguments)


def climb(house: House, course: Course, figures: Figures, voids: list[str]) -> Iterator[None]:
    """Every level, requests at both paces and streams at Poisson's; fills in the figures, or why there are none."""
    for door, kind in product(course.doors, KINDS):
        try:
            peak = house.peak(kind, door, course.peak_seconds, course.streams)
            figures.peaks[f"{kind}, {door}"] = peak
            for pace, share in product(PACES if kind == "request" else PACES[:1], course.shares):
                figures.levels.append(measure(house, course, door, kind, pace, share, peak))
                yield
        except Void as void:
            voids.append(f"{kind}, {door}: {void}")


def measure(house: House, course: Course, door: Door, kind: Kind, pace: str, share: float, peak: float) -> Level:
    """One level."""

    def ask(name: str) -> Answered:
        return house.ask(kind, name, peak * share, course.seconds, course.warm_up, pace)

    return measure_level(door, kind, pace, share, peak * share, ask, course.tries)


def run(options: argparse.Namespace) -> Record:
    """All levels, as a record."""
    require("haproxy", "nginx", "wrk", "gcc")
    given = Course(tuple(options.door or DOORS), tuple(options.share or SHARES), options.seconds)
    course = QUICK if options.quick else given
    figures, voids = Figures({}, []), list[str]()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Programs(Path(folder)) as programs:
        house = House(programs, course.doors)
        list(steps(climb(house, course, figures, voids), "open loop", course.count()))
    voids += [f"{x.kind}, {x.pace}, {x.door}, {x.share:.0%}: {x.void}" for x in figures.levels if x.void]
    return make_record("slo", msgspec.to_builtins(course), figures, voids, missed_goals(figures.levels))


def show(record: Record, console: Console) -> None:
    """Prints what haproxy and Fastpath add."""
    figures = msgspec.convert(record.figures, Figures)
    table = Table(title=f"added latency in ms, {record.date}")
    for heading in ("load", "proxy", "of peak", "per second", "what", "direct p99", "+p50", "+p99", "+p99.9", "counts"):
        table.add_column(heading, justify="left" if heading in ("load", "proxy", "what") else "right")
    for level in figures.levels:
        for name, parts in level.added.items():
            for part, added in parts.items():
                direct = getattr(level.answered["direct"], part).p99
                numbers = [f"{number:.3f}" for number in (direct, added.p50, added.p99, added.p999)]
                load = (f"{level.kind}, {level.pace}", name, f"{level.share:.0%}", f"{level.rate:,.0f}", part)
                table.add_row(*load, *numbers, "void" if level.void else "yes")
    console.print(table)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    return finish(run(options), options, show)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
