"""`python -m bench.overload`: health beside a stream without pauses, and twice the load that its CPU can serve.

Owns the command line, the verdict and the table. Exits 1 when something is void or a goal is missed, 2 when it cannot
be run here.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.options import finish, guarded, steps, suite_parser
from bench.overload.firehose import GOAL_MS, Firehose, measure_firehose
from bench.overload.saturation import NEARLY, Pressure, Saturation, measure_saturation, missed_goals
from bench.record import Record, make_record
from bench.stage import LOAD_CPU
from bench.stage.gateway import DOORS, Door
from bench.stage.programs import Programs, Void, require

PARTS = ("firehose", "saturation")


class Figures(msgspec.Struct):
    firehose: list[Firehose]
    saturation: list[Saturation]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = suite_parser("overload", __doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="this part alone")
    parser.add_argument("--door", action="append", choices=DOORS, help="this door alone")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each phase (%(default)s)")
    return parser.parse_args(arguments)


def measure(
    folder: Path, work: list[tuple[str, Door]], seconds: float, figures: Figures, voids: list[str]
) -> Iterator[None]:
    """Everything in turn, each with processes of its own."""
    for part, door in work:
        own = folder / f"{part}-{door}"
        own.mkdir()
        with Programs(own) as programs:
            try:
                if part == "firehose":
                    figures.firehose.append(measure_firehose(programs, door, seconds))
                else:
                    figures.saturation.append(measure_saturation(programs, door, seconds))
            except (Void, OSError) as problem:
                voids.append(f"{part}, {door}: {problem}")
        yield


def run(options: argparse.Namespace) -> Record:
    """Both parts, as a record."""
    require("gcc")
    doors: tuple[Door, ...] = ("native",) if options.quick else tuple(options.door or DOORS)
    work = [(part, door) for part in options.part or PARTS for door in doors]
    seconds = 1.0 if options.quick else options.seconds
    figures, voids = Figures([], []), list[str]()
    os.sched_setaffinity(0, {LOAD_CPU})  # this process probes
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        list(steps(measure(Path(folder), work, seconds, figures, voids), "overload", len(work)))
    return make_record("overload", {"seconds": seconds}, figures, voids, all_missed(figures))


def all_missed(figures: Figures) -> list[str]:
    """Goals missed; how requests are admitted is the native door's promise alone."""
    slow = [found for found in figures.firehose if found.beside.p99 >= GOAL_MS]
    missed = [
        f"{found.door}: /healthz p99 {found.beside.p99:.1f} ms beside a firehose, under {GOAL_MS:g}" for found in slow
    ]
    return missed + [text for found in figures.saturation if found.door == "native" for text in missed_goals(found)]


def show(record: Record, console: Console) -> None:
    """Prints both parts."""
    figures = msgspec.convert(record.figures, Figures)
    health = Table(title=f"/healthz beside a stream without pauses, ms, {record.date}")
    for heading in ("door", "idle p50", "idle p99", "beside p50", "beside p99", "beside max", "stream MB/s"):
        health.add_column(heading, justify="left" if heading == "door" else "right")
    for row in figures.firehose:
        numbers = (row.idle.p50, row.idle.p99, row.beside.p50, row.beside.p99, row.beside.max, row.mb_per_s)
        health.add_row(row.door, *(f"{number:.2f}" for number in numbers))
    console.print(health)
    for found in figures.saturation:
        console.print(_levels(found))


def _levels(found: Saturation) -> Table:
    recovery = "none" if found.recovery_s is None else f"{found.recovery_s:.2f} s"
    title = f"{found.door}: {found.peak:,.0f} requests/s on a connection each; unloaded p99 "
    title += f"{found.unloaded.answered.p99:.2f} ms ({found.direct_p99_ms:.2f} without a gateway); recovery {recovery}"
    table = Table(title=title)
    for heading in (
        "load",
        "sent/s",
        "served/s",
        "of peak",
        "refused/s",
        "p50 ms",
        "p99 ms",
        "refusal p99",
        "CPU %",
        "void",
    ):
        table.add_column(heading, justify="right")
    nearly = [] if found.nearly is None else [Pressure(NEARLY, found.nearly, 0.0)]
    for level in [*nearly, *found.levels]:
        phase = level.phase
        counts = [phase.sent, phase.goodput, phase.goodput / found.peak * 100, phase.refused / phase.seconds]
        times = [phase.admitted.p50, phase.admitted.p99, phase.turned_away.p99]
        cells = [f"{level.times:g}", *(f"{number:,.0f}" for number in counts), *(f"{ms:.2f}" for ms in times)]
        table.add_row(*cells, f"{level.cpu_percent:.0f}", level.void)
    return table


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    return finish(run(options), options, show)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
