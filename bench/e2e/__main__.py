"""`python -m bench.e2e` (and `make bench`): haproxy, nginx, both doors of Fastpath and whoever else is installed.

Owns the command line, the verdict and the table. Exits 1 when the run is void or a goal is missed, 2 when it cannot be
run here.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.e2e.race import Pace, race
from bench.e2e.ratios import Measurement, Ratio, judge_goals, missed_goals, summarise
from bench.e2e.syscalls import FUTEX_LIMIT, Calls, count_calls, judge_calls
from bench.e2e.units import GOALS, GRANIAN, NATIVE, TWO_WORKERS, UNITS, Goal
from bench.options import finish, guarded, steps, suite_parser
from bench.record import Record, make_record
from bench.stage.peers import installed_peers
from bench.stage.programs import BenchError, Void, program_path, require

ENOUGH = 5
QUICK = Pace(seconds=1, warm_up=1, connections=16, streams=20)


class Figures(msgspec.Struct):
    """Of a race: every measurement, the ratios to the anchors, the goals, and the system calls where perf is."""

    rounds: list[list[Measurement]]
    summary: list[Ratio]
    goals: list[Goal]
    calls: Calls | None


def parse(arguments: list[str]) -> argparse.Namespace:
    pace = Pace()
    parser = suite_parser("e2e", __doc__)
    parser.add_argument("--rounds", type=int, default=ENOUGH, help="interleaved rounds (%(default)s; fewer are void)")
    parser.add_argument("--seconds", type=int, default=pace.seconds, help="of each measurement (%(default)s)")
    parser.add_argument("--connections", type=int, default=pace.connections, help="per request (%(default)s)")
    parser.add_argument("--streams", type=int, default=pace.streams, help="per chunk (%(default)s)")
    parser.add_argument("--only", action="append", choices=UNITS, help="measure this unit alone (again for more)")
    parser.add_argument("--proxy", action="append", help="race this proxy alone, besides the anchors (again for more)")
    parser.add_argument("--with-litellm", action="store_true", help="LiteLLM too, installed on demand (575 MB)")
    return parser.parse_args(arguments)


def contestants(options: argparse.Namespace) -> list[str]:
    """Who takes part; the anchors always do."""
    anchors = ["haproxy", "nginx"]
    others = [name for name in installed_peers() if name not in anchors] + ["litellm"] * options.with_litellm
    names = [*anchors, NATIVE, GRANIAN, TWO_WORKERS, *others]
    return [name for name in names if name in anchors or not options.proxy or name in options.proxy]


def run(options: argparse.Namespace) -> Record:
    """All rounds and the count of calls, as a record."""
    require("haproxy", "nginx", "wrk")
    units, names = options.only or list(UNITS), contestants(options)
    given = Pace(options.seconds, Pace().warm_up, options.connections, options.streams)
    rounds, pace = (1, QUICK) if options.quick else (options.rounds, given)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        measured = list(steps(race(Path(folder), names, units, rounds, pace), "racing", rounds))
    problems = voids(measured)
    calls = trace(pace.seconds, problems) if "request" in units and program_path("perf") else None
    figures = Figures(
        measured, summarise(measured, {name: unit.anchor for name, unit in UNITS.items()}), list(GOALS), calls
    )
    missed = missed_goals(measured, GOALS) + (judge_calls(calls) if calls else [])
    return make_record("e2e", method_of(pace, rounds), figures, problems, missed)


def trace(seconds: int, problems: list[str]) -> Calls | None:
    """System calls of a worker, in a run of their own; adds to the problems when they cannot be counted."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            return count_calls(Path(folder), min(seconds, 3))
        except (Void, BenchError) as problem:
            problems.append(f"system calls: {problem}")
            return None


def method_of(pace: Pace, rounds: int) -> dict[str, Any]:
    return {"rounds": rounds, "keys": 1_000, **msgspec.to_builtins(pace)}


def voids(rounds: list[list[Measurement]]) -> list[str]:
    """Why this run does not count."""
    found = [f"{m.name}, {m.unit}: {m.void}" for measured in rounds for m in measured if m.void]
    return found + ([f"{len(rounds)} rounds are fewer than {ENOUGH}"] if len(rounds) < ENOUGH else [])


def show(record: Record, console: Console) -> None:
    """Prints the table."""
    figures = msgspec.convert(record.figures, Figures)
    table = Table(title=f"race, {record.date}")
    for heading in ("unit", "proxy", "us CPU", "ratio", "lowest to highest", "rounds", "RSS MB", "tokens/s per core"):
        table.add_column(heading, justify="left" if heading in ("unit", "proxy") else "right")
    for row in figures.summary:
        spread, tokens = f"{row.lowest:.2f} to {row.highest:.2f}", f"{row.tokens_per_core:,.0f}"
        numbers = (f"{row.cpu_us:.1f}", f"{row.median:.2f}", spread, str(row.rounds), f"{row.rss_mb:.0f}")
        table.add_row(row.unit, row.name, *numbers, tokens if row.tokens_per_core else "")
    console.print(table)
    if figures.calls:
        console.print(
            "calls per request, loop:", {name: round(n, 3) for name, n in list(figures.calls.loop.items())[:8]}
        )
        console.print("all threads:", {name: round(n, 3) for name, n in list(figures.calls.all_threads.items())[:8]})

    console.print(verdicts(figures))


def verdicts(figures: Figures) -> Table:
    """Every goal of the race with what was reached: a goal that nobody measured is seen to be that."""
    table = Table(title="goals")
    for heading in ("unit", "proxy", "against", "at most", "reached", "verdict"):
        table.add_column(heading, justify="right" if heading in ("at most", "reached") else "left")
    for one in judge_goals(figures.rounds, figures.goals):
        reached = "" if one.reached is None else f"{one.reached:.2f}"
        table.add_row(one.goal.unit, one.goal.name, one.goal.anchor, f"{one.goal.limit:g}", reached, one.text)
    calls, verdict = figures.calls, "not measured"
    if calls:
        verdict = "missed" if judge_calls(calls) else "met"
    futex = f"{calls.loop.get('futex', 0.0):.4f}" if calls else ""
    table.add_row("futex calls per request", NATIVE, "", f"{FUTEX_LIMIT:g}", futex, verdict)
    return table


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    return finish(run(options), options, show)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
