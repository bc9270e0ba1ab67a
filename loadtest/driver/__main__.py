"""`python -m loadtest.driver`: runs a load, writes the client log, prints the outcomes.

Owns the command line. The key is read from an environment variable, never from an argument.
"""

import argparse
import asyncio
import os
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec

from loadtest.checker.history import ClientLine
from loadtest.driver.plan import Load
from loadtest.driver.run import run
from scheduler.clock import SystemClock


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtest.driver", description="Sends chat requests, some of which are abandoned.")
    parser.add_argument("--target", required=True, help="base URL, as http://127.0.0.1:8340/v1")
    parser.add_argument("--n", type=int, default=1000, help="requests")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cancel-ratio", type=float, default=0.0, help="share of requests abandoned, 0 to 1")
    parser.add_argument("--stream-ratio", type=float, default=0.5, help="share of requests streamed, 0 to 1")
    parser.add_argument("--model", default="llama")
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--timeout-s", type=float, default=30.0, help="per request, seconds")
    parser.add_argument("--deadline-s", type=float, default=600.0, help="no request is started later, seconds")
    parser.add_argument("--key-env", help="environment variable that holds the bearer token")
    parser.add_argument("--log", type=Path, help="client log, JSON lines (overwritten)")
    return parser.parse_args(arguments)


def write(file: BinaryIO, line: ClientLine) -> None:
    """Writes one line of the client log."""
    file.write(msgspec.json.encode(line) + b"\n")


def load_of(options: argparse.Namespace) -> Load:
    """The load the arguments ask for. Raises KeyError when the key's variable is not set, ValueError for bad ratios."""
    values = {name: value for name, value in vars(options).items() if name in Load.__struct_fields__}
    key = os.environ[options.key_env] if options.key_env else ""
    return msgspec.convert(values | {"key": key}, Load)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    with ExitStack() as files:
        file = files.enter_context(options.log.open("wb")) if options.log else None
        log = (lambda line: write(file, line)) if file else None
        lines = asyncio.run(run(load_of(options), SystemClock(), log))
    for outcome, count in sorted(Counter(line.outcome for line in lines).items()):
        print(f"{count:8} {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
