"""Reads recorded traffic: when requests came and how long they and their answers were.

Owns the two formats. Azure: CSV with TIMESTAMP, ContextTokens, GeneratedTokens. Mooncake: JSON lines with timestamp
(ms), input_length, output_length and hash_ids, the ids of the prompt's 512-token blocks. Which one a file has is seen
from its first byte. Pure functions over a file.
"""

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from fastpath.bench.load import Arrival, LoadError

Count = Annotated[int, msgspec.Meta(ge=0)]


class MooncakeLine(msgspec.Struct):
    """The fields of a Mooncake line that are used; timestamp in ms."""

    timestamp: float
    input_length: Count
    output_length: Count
    hash_ids: tuple[int, ...] = ()


def read_trace(path: Path, limit: int | None = None) -> list[Arrival]:
    """The first `limit` requests of a trace in order of arrival, timed from the first. Raises LoadError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            found = _read(path, lines)
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"--trace {path}: {error.strerror if isinstance(error, OSError) else 'not text'}") from error
    if not found:
        raise LoadError(f"--trace {path}: no requests in it")
    found.sort(key=lambda arrival: arrival.at)
    start = found[0].at
    return [msgspec.structs.replace(arrival, at=arrival.at - start) for arrival in found[:limit]]


def _read(path: Path, lines: Iterable[str]) -> list[Arrival]:
    iterator = iter(lines)
    first = next(iterator, "")
    reader = _mooncake if first.lstrip().startswith("{") else _azure
    found: list[Arrival] = []
    try:
        for arrival in reader(first, iterator):
            found.append(arrival)
    except (ValueError, KeyError, TypeError) as error:
        number = len(found) + (1 if reader is _mooncake else 2)
        raise LoadError(f"--trace {path}:{number}: {_reason(error)}") from error
    return found


def _reason(error: Exception) -> str:
    return f"no column {error}" if isinstance(error, KeyError) else str(error)


def _mooncake(first: str, rest: Iterator[str]) -> Iterator[Arrival]:
    decode = msgspec.json.Decoder(MooncakeLine).decode
    for text in [first], rest:
        for line in text:
            if line.strip():
                found = decode(line)
                yield Arrival(found.timestamp / 1e3, found.input_length, found.output_length, found.hash_ids)


def _azure(first: str, rest: Iterator[str]) -> Iterator[Arrival]:
    names = next(csv.reader([first]), [])
    for row in csv.DictReader(rest, names):
        at = datetime.fromisoformat(row["TIMESTAMP"]).timestamp()
        yield Arrival(at, _count(row["ContextTokens"]), _count(row["GeneratedTokens"]))


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise ValueError(f"a count of tokens is negative: {text}")
    return count
