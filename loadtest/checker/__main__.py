"""`python -m loadtest.checker`: judges a run by its logs. Exit status 0: all held; 1: a violation; 2: unreadable logs.

Owns the command line and the table. Does not judge.
"""

import argparse
import sys
from pathlib import Path

import msgspec

from loadtest.checker import INVARIANTS, Violation
from loadtest.checker.accounts import Accounts
from loadtest.checker.allowance import Allowance
from loadtest.checker.history import AccessLine, ClientLine, History, MockLine, Sample, read_lines
from loadtest.faultd.record import ConnectionRecord

LOGS = ("client", "gateway", "mock", "proxy")
SHOWN = 5
"""Violations named per invariant."""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtest.checker", description="Evaluates the invariants of a run over its logs.")
    for log in ("client", "gateway", "mock", "proxy"):
        parser.add_argument(
            f"--{log}", type=Path, action="append", default=[], help=f"{log} log, JSON lines; repeatable"
        )
    parser.add_argument("--accounts", type=Path, help="what the books say, JSON (loadtest.ledger)")
    parser.add_argument("--baseline", type=Path, help="process samples before the run, JSON lines")
    parser.add_argument("--after", type=Path, help="process samples after the run, JSON lines")
    parser.add_argument("--allow", type=int, action="append", default=[], metavar="5XX", help="a status the row allows")
    parser.add_argument("--allow-cuts", action="store_true", help="connections may be refused or break off")
    parser.add_argument("--patched-bodies", action="store_true", help="the gateway may change request bodies")
    options = parser.parse_args(arguments)
    if bool(options.baseline) != bool(options.after):
        parser.error("--baseline and --after go together")
    return options


def load(options: argparse.Namespace) -> History:
    """Reads the logs that were named. Raises OSError, msgspec.DecodeError."""
    return History(
        clients=[line for path in options.client for line in read_lines(path, ClientLine)],
        access=[line for path in options.gateway for line in read_lines(path, AccessLine)],
        mock=[line for path in options.mock for line in read_lines(path, MockLine)],
        proxy=[line for path in options.proxy for line in read_lines(path, ConnectionRecord)],
        before=read_lines(options.baseline, Sample),
        after=read_lines(options.after, Sample),
        accounts=None
        if options.accounts is None
        else msgspec.json.decode(options.accounts.read_bytes(), type=Accounts),
        allowance=Allowance(
            statuses=frozenset(options.allow), cuts=options.allow_cuts, patched_bodies=options.patched_bodies
        ),
    )


def report(history: History, given: frozenset[str]) -> list[Violation]:
    """Evaluates the invariants for which the logs in `given` suffice, prints the table, returns all violations."""
    found: list[Violation] = []
    for name, title, check, needs in INVARIANTS:
        checked = any(logs <= given for logs in needs)
        violations = check(history) if checked else []
        print(f"{name:4} {_verdict(checked, violations):>16}  {title}")
        for violation in violations[:SHOWN]:
            print(f"     {violation.record}: {violation.reason}")
        found += violations
    return found


def _verdict(checked: bool, violations: list[Violation]) -> str:
    if not checked:
        return "not checked"
    return f"{len(violations)} violations" if violations else "held"


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        history = load(options)
    except (OSError, msgspec.DecodeError) as error:
        print(f"cannot read the logs: {error}", file=sys.stderr)
        return 2
    sizes = ((len(getattr(history, log)), log) for log in ("clients", "access", "mock", "proxy", "before", "after"))
    print("lines:", ", ".join(f"{size} {log}" for size, log in sizes))
    given = frozenset(log for log in (*LOGS, "baseline", "accounts") if getattr(options, log))
    return int(bool(report(history, given)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
