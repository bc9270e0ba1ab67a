"""`python -m bench.micro`: every kernel beside its pure twin, by pytest-benchmark. Exits 1 below a floor.

What is not known here goes to pytest: `-k arena`, say, or `--plant`, which puts the twin in the kernel's place.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from bench.micro.floors import floor

HERE = Path(__file__).parent
FLAGS = ["-q", "--tb=line", "-p", "no:cacheprovider", "--benchmark-quiet", "--benchmark-max-time=0.1"]
COLUMNS = ("kernel", "ns", "median ns", "twin ns", "times as fast", "at least")


def show(benchmarks: list[dict[str, Any]], console: Console) -> None:
    """Prints the table: best turns of the duel, the median of pytest-benchmark's rounds, the factor and its floor."""
    table = Table()
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "kernel" else "right")
    for found in benchmarks:
        name, native, twin = (found["extra_info"][key] for key in ("name", "native_ns", "twin_ns"))
        times = (native, found["stats"]["median"] * 1e9, twin)
        table.add_row(name, *(f"{time:,.0f}" for time in times), f"{twin / native:.1f}", f"{floor(name):.1f}")
    console.print(table)


def main(arguments: list[str]) -> int:
    """pytest's exit status."""
    with tempfile.TemporaryDirectory(prefix="micro-") as folder:
        path = Path(folder) / "kernels.json"
        status = pytest.main([str(HERE), *FLAGS, f"--benchmark-json={path}", *arguments])
        found = json.loads(path.read_text())["benchmarks"] if path.exists() and path.stat().st_size else []
    show(found, Console(width=None if sys.stdout.isatty() else 120))
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
