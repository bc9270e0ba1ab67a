"""The provider's statement of a mock server: what it charged, by request and attempt, from its log.

    python -m backends.mock.statement --currency EUR --of first.jsonl first.jsonl second.jsonl

prints what the server of `first.jsonl` charged, in the columns that `fastpath reconcile` reads. A request is named by
the `x-request-id` that the gateway sent. No server knows which attempt of a request it was; with the logs of all of
them, attempts are counted in the order in which servers were first asked. What one server was asked twice for one
request (a connection that died was replaced) is one attempt, charged as often. Pure, but for reading the logs.
"""

import argparse
import csv
import io
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

_REQUEST: Final = re.compile(r"req_([0-9a-f]{32})", re.ASCII)
_NANO: Final = 1_000_000_000


class Charged(msgspec.Struct):
    """The part of a record that a statement is made of. `charge`: nano-units."""

    headers: list[tuple[str, str]] = []
    at: float = 0.0
    charge: int = 0

    @property
    def request(self) -> str | None:
        """32 hex digits; None for a request that came from no gateway."""
        named = [_REQUEST.fullmatch(value) for name, value in self.headers if name.lower() == "x-request-id"]
        return named[0][1] if named and named[0] else None


class Line(msgspec.Struct, frozen=True):
    """What one server charged for one attempt, nano-units."""

    server: str
    request: str
    attempt: int
    amount: int


def read_log(path: Path) -> list[Charged]:
    """The whole lines of a log: a kill may leave half of the last one. Raises OSError, msgspec.DecodeError."""
    data = path.read_bytes()
    decoder = msgspec.json.Decoder(Charged)
    return [decoder.decode(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def state(servers: Iterable[tuple[str, Sequence[Charged]]]) -> list[Line]:
    """The lines of all servers, by request and attempt. `servers`: names and what they recorded."""
    first: dict[str, dict[str, float]] = {}
    amounts: dict[tuple[str, str], int] = {}
    for server, records in servers:
        for record in records:
            request = record.request
            if request is None:
                continue
            asked = first.setdefault(request, {})
            asked[server] = min(record.at, asked.get(server, record.at))
            amounts[request, server] = amounts.get((request, server), 0) + record.charge
    return [
        Line(server, request, attempt, amounts[request, server])
        for request, asked in sorted(first.items())
        for attempt, server in enumerate(sorted(asked, key=lambda name: asked[name]), 1)
    ]


def render(lines: Iterable[Line], currency: str) -> str:
    """CSV with a head, as `fastpath reconcile` reads it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("request", "attempt", "amount", "currency"))
    for line in lines:
        money = f"{line.amount // _NANO}.{line.amount % _NANO:09d}"
        writer.writerow((f"req_{line.request}", line.attempt, money, currency))
    return text.getvalue()


def run(arguments: Sequence[str] | None = None) -> int:
    """Prints a statement. Returns the exit status."""
    parser = argparse.ArgumentParser("backends.mock.statement", description="What a mock server charged.")
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="of every server that was asked")
    parser.add_argument("--of", type=Path, metavar="LOG", help="of the server whose statement it is (the first)")
    parser.add_argument("--currency", default="USD", help="ISO 4217 code (%(default)s)")
    given = parser.parse_args(arguments)
    try:
        lines = state([(str(path), read_log(path)) for path in given.logs])
    except (OSError, msgspec.DecodeError) as error:
        parser.exit(1, f"statement: {error}\n")
    wanted = str(given.of or given.logs[0])
    sys.stdout.write(render((line for line in lines if line.server == wanted), given.currency))
    return 0


if __name__ == "__main__":
    sys.exit(run())
