"""`python -m loadtest.resilience`: one run. Exit status 0: enough went well; 1: not; 2: it did not run.

Owns the command line and what is printed.
"""

import argparse
import asyncio
import shutil
import sys
from collections import Counter
from pathlib import Path

from loadtest.programs import ROOT
from loadtest.resilience.acts import Happened, play
from loadtest.resilience.load import Visit, keep_asking
from loadtest.resilience.share import wilson
from loadtest.resilience.stage import Stage

TARGET = 0.9995


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtest.resilience", description="Sick model servers under a steady load.")
    parser.add_argument("--minutes", type=float, default=30.0, help="of load (%(default)s)")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second (%(default)s)")
    parser.add_argument("--every", type=float, default=20.0, help="seconds of quiet between two faults (%(default)s)")
    parser.add_argument("--lasts", type=float, default=8.0, help="seconds that a fault lasts (%(default)s)")
    parser.add_argument("--streamed", type=float, default=0.5, help="share of streamed answers (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same faults (%(default)s)")
    parser.add_argument("--door", choices=("native", "granian"), default="native", help="(%(default)s)")
    parser.add_argument(
        "--logs", type=Path, default=ROOT / "build" / "resilience", help="folder, emptied (%(default)s)"
    )
    return parser.parse_args(arguments)


async def run(options: argparse.Namespace) -> tuple[list[Visit], list[Happened]]:
    """The visits and the faults of one run."""
    seconds = options.minutes * 60
    async with Stage(options.logs, options.door) as stage:
        await keep_asking(stage.node.port, options.rate, 2.0)
        async with asyncio.TaskGroup() as tasks:
            load = tasks.create_task(keep_asking(stage.node.port, options.rate, seconds, streamed=options.streamed))
            faults = tasks.create_task(play(stage, options.seed, seconds, options.every, options.lasts))
        return load.result(), faults.result()


def show(visits: list[Visit], happened: list[Happened]) -> bool:
    """Prints what happened; whether enough went well."""
    print(
        "faults:", ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(one.kind for one in happened).items()))
    )
    good = sum(not visit.problem for visit in visits)
    low, high = wilson(good, len(visits))
    for problem, count in Counter(visit.problem for visit in visits if visit.problem).most_common():
        print(f"{count} x {problem}")
    share = good / len(visits)
    print(
        f"{good} of {len(visits)} went well: {share:.4%}, and with 95 % confidence between {low:.4%} and {high:.4%}; "
        f"wanted: {TARGET:.2%}"
    )
    return share >= TARGET


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    shutil.rmtree(options.logs, ignore_errors=True)
    options.logs.mkdir(parents=True)
    print(f"resilience with seed {options.seed}, {options.minutes:g} min, {options.rate:g} a second", flush=True)
    try:
        visits, happened = asyncio.run(run(options))
    except (OSError, RuntimeError, ExceptionGroup) as error:
        print(f"loadtest.resilience: it did not run: {error!r}", file=sys.stderr)
        return 2
    return 0 if show(visits, happened) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
