"""`python -m loadtest.chaos --seed N --seconds S`: one run. Exit status 0: all held; 1: a violation; 2: it did not run.

Owns the command line and what is printed: the seed, the faults as they happened, the verdict.
"""

import argparse
import asyncio
import shutil
import sys
from collections import Counter
from pathlib import Path

from loadtest.chaos.kinds import KINDS
from loadtest.chaos.run import Order, Outcome, run
from loadtest.chaos.schedule import draw
from loadtest.checker import INVARIANTS
from loadtest.checker.report import show_violations
from loadtest.programs import ROOT
from scheduler.clock import SystemClock

SHOWN = 5
"""Violations named per invariant."""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtest.chaos", description="Seeded kills and faults under load.")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same schedule (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of load under faults (%(default)s)")
    parser.add_argument("--door", choices=("native", "granian"), default="native", help="(%(default)s)")
    parser.add_argument("--logs", type=Path, default=ROOT / "build" / "chaos", help="folder, emptied (%(default)s)")
    parser.add_argument("--schedule", action="store_true", help="print the schedule and run nothing")
    parser.add_argument("--kinds", action="store_true", help="print what can happen, what it may show, and run nothing")
    return parser.parse_args(arguments)


def show_schedule(seed: int, seconds: float) -> None:
    """Prints what will happen when."""
    for planned in draw(seed, seconds):
        print(f"{planned.at:7.2f} s  {planned.lasts:4.2f} s  {planned.kind:17} {planned.target % 2}")


def show_kinds() -> None:
    """Prints the table of faults."""
    for kind in KINDS.values():
        print(f"{kind.lane:9} {kind.name:17} {kind.does}\n{'':28}may show: {kind.shows}")


def show(outcome: Outcome) -> None:
    """Prints what happened and the verdict."""
    for event in sorted(outcome.events, key=lambda event: event.begin):
        at, lasted = event.begin - outcome.started, event.end - event.begin
        print(f"{at:7.2f} s  {lasted:4.2f} s  {event.planned.kind:17} {event.hit}")
    counts = Counter(line.outcome for line in outcome.clients)
    print("requests:", ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    print(f"{outcome.unexcused} of {len(outcome.clients)} met nothing that excuses a failure")
    titles = {"rest": "ready again, nothing left over"} | {one.name: one.title for one in INVARIANTS}
    show_violations(titles, outcome.violations, SHOWN)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if options.kinds or options.schedule:
        show_kinds() if options.kinds else show_schedule(options.seed, options.seconds)
        return 0
    shutil.rmtree(options.logs, ignore_errors=True)
    options.logs.mkdir(parents=True)
    print(f"chaos with seed {options.seed}, {options.seconds:g} s, door {options.door}", flush=True)
    order = Order(seed=options.seed, seconds=options.seconds, door=options.door)
    try:
        outcome = asyncio.run(run(order, options.logs, SystemClock()))
    except (OSError, RuntimeError, ExceptionGroup) as error:
        print(f"loadtest.chaos: it did not run: {error!r}", file=sys.stderr)
        return 2
    show(outcome)
    print(f"seed {options.seed}: {'a violation' if outcome.violations else 'all held'}")
    return int(bool(outcome.violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
