"""The file that a suite leaves under bench/results: what was measured, on what, how, and what does not count.

Owns its shape, its name, writing and finding it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.stage.programs import HOME
from bench.versions import machine, versions

RESULTS = HOME / "bench" / "results"


class Record(msgspec.Struct, kw_only=True):
    """`figures` is the suite's own; `void` says why figures do not count, `missed` which goals were not reached."""

    suite: str
    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    method: dict[str, Any]
    figures: Any
    void: list[str]
    missed: list[str]


def make_record(
    suite: str, method: dict[str, Any], figures: object, void: Sequence[str] = (), missed: Sequence[str] = ()
) -> Record:
    """A record of now, on this machine."""
    return Record(
        suite=suite,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        versions=versions(),
        method=method,
        figures=msgspec.to_builtins(figures, str_keys=True),
        void=list(void),
        missed=list(missed),
    )


def write(record: Record, folder: Path) -> Path:
    """Writes DATE-SUITE.json."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = record.date.partition("+")[0].replace(":", "")
    path = folder / f"{stamp}-{record.suite}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return path


def newest(folder: Path, suite: str) -> Record | None:
    """The last record of a suite; None when there is none."""
    paths = sorted(folder.glob(f"*-{suite}.json"))
    return msgspec.json.decode(paths[-1].read_bytes(), type=Record) if paths else None
