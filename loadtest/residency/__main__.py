"""`python -m loadtest.residency`: the leak runs. Exit status 0: nothing leaked, and the run that must leak did; 1: not
so; 2: it did not run.

    P0         both walls      nothing may leave
    P0         gate alone      routing is offered everything: nothing may leave, every try is counted
    P0         no wall         must leak, or the runs above prove nothing
    residency  the same three, with data that may go to clouds but not to these
"""

import argparse
import asyncio
import shutil
import sys
from pathlib import Path

import msgspec

from loadtest.programs import ROOT
from loadtest.residency.order import HOME_REASONS, P0_REASONS, make_asks
from loadtest.residency.run import Outcome, run

REASONS = {"P0": P0_REASONS, "residency": HOME_REASONS}
SHOWN = 10


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtest.residency", description="Does data that must stay home leave?")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same requests (%(default)s)")
    parser.add_argument("--n", type=int, default=5_000, help="requests of each run with walls (%(default)s)")
    parser.add_argument("--leaking", type=int, default=300, help="requests of each run without (%(default)s)")
    parser.add_argument("--logs", type=Path, default=ROOT / "build" / "residency", help="folder, emptied (%(default)s)")
    return parser.parse_args(arguments)


def holds(walls: str, outcome: Outcome, count: int) -> bool:
    """Whether a run showed what it must."""
    if walls == "none":
        return bool(outcome.leaks) and bool(outcome.connections) and bool(outcome.forms)
    quiet = not outcome.leaks and not outcome.wrong and outcome.asked == count
    return quiet and (outcome.violations == 0) == (walls == "both")


def judge(options: argparse.Namespace) -> int:
    """All six runs; prints each. Returns the exit status."""
    shutil.rmtree(options.logs, ignore_errors=True)
    worst, figures = 0, {}
    for what, reasons in REASONS.items():
        for walls in ("both", "gate", "none"):
            count = options.leaking if walls == "none" else options.n
            folder = options.logs / f"{what}-{walls}"
            folder.mkdir(parents=True)
            outcome = asyncio.run(run(list(make_asks(options.seed, count, reasons)), folder, walls, options.seed))
            good = holds(walls, outcome, count)
            worst = max(worst, int(not good))
            figures[f"{what} {walls}"] = outcome
            _show(f"{what}, walls: {walls}", outcome, good)
    (options.logs / "figures.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    return worst


def _show(title: str, outcome: Outcome, good: bool) -> None:
    print(
        f"{title:24} {'as it must be' if good else 'NOT AS IT MUST BE':18} {outcome.asked:5} requests, "
        f"{outcome.reloads} reloads, {outcome.connections} connections outside, {sum(outcome.forms.values())} canaries "
        f"found, {outcome.violations} stopped by the gate, {len(outcome.wrong)} other answers",
        flush=True,
    )
    for line in [] if good else [*outcome.leaks[:SHOWN], *outcome.wrong[:SHOWN]]:
        print(f"    {line}")


def main(arguments: list[str]) -> int:
    try:
        return judge(parse(arguments))
    except (OSError, RuntimeError, ExceptionGroup) as error:
        print(f"loadtest.residency: it did not run: {error!r}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
