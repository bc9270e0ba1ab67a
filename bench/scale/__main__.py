"""`python -m bench.scale`: CPU per request over workers, connections, endpoints and keys.

Owns the command line and the table. Exits 1 when a point is void, 2 when it cannot be run here.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
from rich.console import Console
from rich.table import Table

from bench.options import finish, guarded, steps, suite_parser
from bench.record import Record, make_record
from bench.scale.curves import CURVES, Curve, Ground, Pace, Point
from bench.stage.gateway import DOORS, Door
from bench.stage.programs import Programs, require

QUICK = Pace(1, 1, 1, 1)
QUICK_XS: dict[Curve, tuple[int, ...]] = {"endpoints": (3,)}


class Figures(msgspec.Struct):
    points: list[Point]


def parse(arguments: list[str]) -> argparse.Namespace:
    pace = Pace()
    parser = suite_parser("scale", __doc__)
    parser.add_argument("--curve", action="append", choices=get_args(Curve), help="this curve alone (again for more)")
    parser.add_argument("--door", action="append", choices=DOORS, help="this door alone")
    parser.add_argument("--most", type=int, help="no point beyond this")
    parser.add_argument("--rounds", type=int, default=pace.rounds, help="pairs with haproxy per point (%(default)s)")
    parser.add_argument("--seconds", type=int, default=pace.seconds, help="of each measurement (%(default)s)")
    return parser.parse_args(arguments)


def positions(options: argparse.Namespace) -> dict[Curve, tuple[int, ...]]:
    """Where each wanted curve has points."""
    if options.quick:
        return QUICK_XS
    wanted = options.curve or list(CURVES)
    most = options.most or sys.maxsize
    return {name: tuple(x for x in xs if x <= most) for name, (_, xs) in CURVES.items() if name in wanted}


def draw(folder: Path, pace: Pace, doors: tuple[Door, ...], where: dict[Curve, tuple[int, ...]]) -> Iterator[Point]:
    """Every point of every curve."""
    with Programs(folder) as programs:
        ground = Ground(programs, pace)
        for curve, xs in where.items():
            yield from CURVES[curve][0](ground, doors, xs)


def run(options: argparse.Namespace) -> Record:
    """All curves, as a record."""
    require("haproxy", "nginx", "wrk")
    where = positions(options)
    pace = QUICK if options.quick else Pace(options.rounds, options.seconds)
    doors: tuple[Door, ...] = ("native",) if options.quick else tuple(options.door or DOORS)
    count = sum(len(xs) * (len(doors) + 2 * (curve == "connections")) for curve, xs in where.items())
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        points = list(steps(draw(Path(folder), pace, doors, where), "scale", count))
    voids = [f"{point.curve} {point.x}, {point.name}: {point.void}" for point in points if point.void]
    return make_record("scale", msgspec.to_builtins(pace), Figures(points), voids)


def show(record: Record, console: Console) -> None:
    """Prints the points."""
    table = Table(title=f"CPU per request, {record.date}")
    for heading in ("curve", "proxy", "at", "us CPU", "ratio to haproxy", "lowest to highest", "per second", "RSS MB"):
        table.add_column(heading, justify="left" if heading in ("curve", "proxy") else "right")
    for point in msgspec.convert(record.figures, Figures).points:
        ratios = (f"{point.ratio:.2f}", f"{point.lowest:.2f} to {point.highest:.2f}")
        numbers = (f"{point.cpu_us:.1f}", *ratios, f"{point.rps:,.0f}", f"{point.rss_mb:.0f}")
        table.add_row(point.curve, point.name, f"{point.x:,}", *(("void",) if point.void else numbers))
    console.print(table)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    return finish(run(options), options, show)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
