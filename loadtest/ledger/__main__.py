"""`python -m loadtest.ledger`: one run for each store. Exit status 0: all held; 1: a violation; 2: it did not run.

Owns the command line, the PostgreSQL server of a run, and what is printed and written: figures and verdicts.
"""

import argparse
import asyncio
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec

from controlplane.store.errors import StoreError
from loadtest.checker import INVARIANTS
from loadtest.checker.report import show_violations
from loadtest.ledger.figures import figures_of, render
from loadtest.ledger.order import Order, Store
from loadtest.ledger.run import JUDGED, Outcome, run
from loadtest.postgres import Cluster
from loadtest.programs import ROOT
from scheduler.clock import SystemClock

SHOWN = 10
"""Violations named per invariant."""
STORES: tuple[Store, ...] = ("sqlite", "postgresql")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtest.ledger", description="Requests that go wrong, workers killed, the sum.")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same requests and kills (%(default)s)")
    parser.add_argument("--n", type=int, default=10_000, help="requests (%(default)s)")
    parser.add_argument("--kills", type=int, default=200, help="of workers, spread over them (%(default)s)")
    parser.add_argument("--store", choices=STORES, action="append", help="the books' database (again for more; both)")
    parser.add_argument("--logs", type=Path, default=ROOT / "build" / "ledger", help="folder, emptied (%(default)s)")
    return parser.parse_args(arguments)


def run_one(order: Order, folder: Path) -> Outcome:
    """One run, in an emptied folder. Raises OSError, RuntimeError or StoreError when it cannot be run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        database = None
        if order.store == "postgresql":
            cluster = stack.enter_context(Cluster())
            database = cluster.url(cluster.create_database())
        return asyncio.run(run(order, folder, SystemClock(), database))


def show(outcome: Outcome) -> None:
    """Prints the verdict on each invariant."""
    titles = {"rest": "nothing left over"} | {one.name: one.title for one in INVARIANTS if one.name in JUDGED}
    show_violations(titles, outcome.violations, SHOWN)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    worst = 0
    for store in options.store or STORES:
        order = Order(seed=options.seed, n=options.n, kills=options.kills, store=store)
        folder = options.logs / store
        print(f"ledger with seed {order.seed}: {order.n} requests, {order.kills} kills, {store}", flush=True)
        try:
            outcome = run_one(order, folder)
        except (OSError, RuntimeError, StoreError, ExceptionGroup) as error:
            print(f"loadtest.ledger: it did not run: {error!r}", file=sys.stderr)
            return 2
        figures = figures_of(order, outcome)
        (folder / "figures.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
        print(render(figures))
        show(outcome)
        worst = max(worst, int(bool(outcome.violations)))
    print(f"seed {options.seed}: {'a violation' if worst else 'all held'}")
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
