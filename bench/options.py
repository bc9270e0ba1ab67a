"""What every suite does with its command line, its progress and its record."""

import argparse
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from bench.record import RESULTS, Record, write
from bench.stage.programs import BenchError

Step = TypeVar("Step")


def suite_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that all suites have."""
    parser = argparse.ArgumentParser(f"bench.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds: nothing in it is a figure")
    parser.add_argument("--results", type=Path, help=f"folder for the record ({RESULTS}; with --quick: none)")
    return parser


def steps(sequence: Iterable[Step], label: str, total: int) -> Iterator[Step]:
    """The sequence, with a progress bar on standard error."""
    yield from track(sequence, label, total, console=Console(stderr=True), transient=True)


def finish(record: Record, options: argparse.Namespace, show: Callable[[Record, Console], None]) -> int:
    """Prints and keeps the record; the exit status: 1 when something is void or missed (never with --quick)."""
    if options.quick:
        record.void.append("a smoke run: nothing in it is a figure")
    console = Console(width=None if sys.stdout.isatty() else 120)
    show(record, console)
    for reason in record.void:
        console.print(f"VOID: {reason}", markup=False)
    for goal in record.missed:
        console.print(f"goal missed: {goal}", markup=False)
    if options.results or not options.quick:
        print(f"written to {write(record, options.results or RESULTS)}")
    return 1 if (record.void or record.missed) and not options.quick else 0


def guarded(main: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Runs a suite; 2 and the reason when it cannot be run here. SIGTERM unwinds it, so that what it began ends too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return main(arguments)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
