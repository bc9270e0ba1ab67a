"""`python -m bench.run [SUITE] ...`, which is `make bench`: one suite (the race if none is named), or `all` in turn."""

import importlib
import sys

from bench.options import guarded

SUITES = ("e2e", "slo", "memory", "scale", "overload", "money")


def main(arguments: list[str]) -> int:
    """Runs what the first argument names; the worst exit status of what ran."""
    named = arguments[0] if arguments and not arguments[0].startswith("-") else "e2e"
    if named not in (*SUITES, "all"):
        print(f"bench: no suite {named}; there are {', '.join(SUITES)} and all", file=sys.stderr)
        return 2
    flags = arguments[1:] if arguments[:1] == [named] else arguments
    return max(run_suite(name, flags) for name in (SUITES if named == "all" else (named,)))


def run_suite(name: str, flags: list[str]) -> int:
    """The exit status of one suite."""
    return guarded(importlib.import_module(f"bench.{name}.__main__").main, flags)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
