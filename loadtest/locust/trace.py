"""The published traces as rows: who asked when, for how much.

Owns the two file formats. Does not make loads of them. See loadtest/traces/README.md.
"""

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

TRACES = Path(__file__).parents[1] / "traces"
AZURE = TRACES / "azure_conversation.csv"
MOONCAKE = TRACES / "mooncake_conversation.jsonl"


class Arrival(msgspec.Struct, frozen=True):
    """One request: seconds since the first, tokens of prompt and answer."""

    at: float
    input: int
    output: int


class Row(msgspec.Struct, frozen=True):
    """A line of the Mooncake trace. timestamp: milliseconds; hash_ids: one per 512 tokens of prompt."""

    timestamp: int
    input_length: int
    output_length: int
    hash_ids: tuple[int, ...]


def read_azure(path: Path = AZURE) -> list[Arrival]:
    """The requests in the order of their arrival. Raises OSError, KeyError or ValueError for another format."""
    with path.open(newline="") as file:
        return list(_arrivals(csv.DictReader(file)))


def _arrivals(rows: Iterable[dict[str, str]]) -> Iterator[Arrival]:
    first: datetime | None = None
    for row in rows:
        at = datetime.fromisoformat(row["TIMESTAMP"][:26])  # The trace has seven digits of a second, Python six.
        first = first or at
        yield Arrival((at - first).total_seconds(), int(row["ContextTokens"]), int(row["GeneratedTokens"]))


def read_mooncake(path: Path = MOONCAKE) -> list[list[Row]]:
    """The conversations of at least two turns, each prompt beginning with the one before. Raises as `read_azure`."""
    decoder = msgspec.json.Decoder(Row)
    talks: list[list[Row]] = []
    last: dict[tuple[int, ...], list[Row]] = {}
    for line in path.read_bytes().splitlines():
        row = decoder.decode(line)
        talk = _talk_of(row, last)
        if talk is None:
            talk = []
            talks.append(talk)
        talk.append(row)
        last[row.hash_ids[:-1]] = talk  # The last block of a prompt is not full: the next turn fills it anew.
    return [talk for talk in talks if len(talk) > 1]


def _talk_of(row: Row, last: dict[tuple[int, ...], list[Row]]) -> list[Row] | None:
    for count in range(len(row.hash_ids), 1, -1):  # All share the first block: it says nothing.
        talk = last.get(row.hash_ids[:count])
        if talk is not None and talk[-1].input_length < row.input_length:
            return talk
    return None
