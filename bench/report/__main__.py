"""`python -m bench.report`: writes the generated part of docs/benchmarks.md and its pictures from the newest records.

Owns the command line. Exits 2 when the page has no place for it; suites without a record are left out and named.
"""

import argparse
import os
import sys
from pathlib import Path

from bench.record import RESULTS, newest
from bench.report.page import PageError, splice
from bench.report.pictures import draw
from bench.report.sections import COMMANDS, section
from bench.stage.programs import HOME


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of records (%(default)s)")
    parser.add_argument("--page", type=Path, default=HOME / "docs" / "benchmarks.md", help="page (%(default)s)")
    parser.add_argument("--pictures", type=Path, default=HOME / "docs" / "pictures" / "bench", help="(%(default)s)")
    return parser.parse_args(arguments)


def render(results: Path, page: Path, pictures: Path) -> str:
    """The generated part; draws the pictures on the way."""
    parts = []
    for suite in COMMANDS:
        record = newest(results, suite)
        if record is None:
            print(f"bench.report: no record of {suite} in {results}", file=sys.stderr)
            continue
        drawn = draw(record, pictures)
        parts.append(section(record, Path(os.path.relpath(drawn, page.parent)).as_posix() if drawn else None))
    return "\n\n".join(parts)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        text = options.page.read_text()
        splice(text, "")  # before anything is drawn
        options.page.write_text(splice(text, render(options.results, options.page, options.pictures)))
    except (PageError, OSError) as error:
        print(f"bench.report: {error}", file=sys.stderr)
        return 2
    print(f"written to {options.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
