"""`python -m bench.gates.instructions`: instructions per request and per streamed chunk, against those recorded.

Fails (1) when a count is more than 3 % over instructions.json, which has an entry per build; `--record` writes that of
this one. All instructions are compared where there is an entry of this very interpreter, libc, compiler and kind of
CPU; where only compiler and minor version of Python are the same, those in our own objects; elsewhere the gate says
VOID and passes. 2: it cannot run.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bench.gates.build import Build, Scope, this_build
from bench.gates.callgrind import Count, Plan, count_all
from bench.options import guarded
from bench.replay import CHUNKS
from bench.stage.programs import HOME
from fastpath.compiled import outdated

FILE = Path(__file__).with_suffix(".json")
MARGIN = 1.03
"""Counts repeat to 0.1 %, ours exactly; a change may add this much before somebody has to say so."""
UNITS = {"requests": "request", "streams": "chunk"}
SCOPES: dict[Scope, str] = {"total": "all", "ours": "in our objects"}


class Recorded(msgspec.Struct, frozen=True):
    """One entry: counts per request of the requests, per chunk of the streams, and what they were made with."""

    build: Build
    requests: Count
    streams: Count


def nearest(entries: Sequence[Recorded], build: Build) -> Recorded:
    """The entry that most can be compared with. Another interpreter's flags alone move our own objects by 4 %."""
    return max(entries, key=lambda entry: len(build.scopes_against(entry.build)))


def keep(entries: Sequence[Recorded], made: Recorded) -> list[Recorded]:
    """The entries with the one of this build replaced, or added."""
    return [*(entry for entry in entries if entry.build != made.build), made]


class Finding(msgspec.Struct, frozen=True):
    """One count beside the recorded one."""

    mode: str
    scope: Scope
    found: float
    recorded: float

    @property
    def over(self) -> bool:
        return self.found > self.recorded * MARGIN

    def __str__(self) -> str:
        change = 100 * (self.found / self.recorded - 1)
        what = f"instructions per {UNITS[self.mode]}, {SCOPES[self.scope]}"
        verdict = "FAILED" if self.over else "ok"
        return f"{what:46}{self.found:12,.0f}   recorded {self.recorded:12,.0f}   {change:+6.2f} %   {verdict}"


def compare(counts: Mapping[str, Count], recorded: Recorded, scopes: Sequence[Scope]) -> list[Finding]:
    """Every count that may be compared, beside its like."""
    return [
        Finding(mode, scope, getattr(count, scope), getattr(getattr(recorded, mode), scope))
        for mode, count in counts.items()
        for scope in scopes
    ]


def judge(counts: Mapping[str, Count], recorded: Recorded, build: Build) -> int:
    """Prints what is found; the exit status."""
    scopes = build.scopes_against(recorded.build)
    if not scopes:
        print(f"VOID: recorded for another Python or compiler ({recorded.build}, this is {build}): record it anew")
        return 0
    if len(scopes) == 1:
        print("recorded with another build of Python or libc: only our own objects are compared")
    findings = compare(counts, recorded, scopes)
    print(*findings, sep="\n")
    if any(finding.over for finding in findings):
        return 1
    if any(finding.found * MARGIN < finding.recorded for finding in findings):
        print("cheaper than recorded: --record it, so that it stays")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench.gates.instructions", description=__doc__)
    parser.add_argument("--record", action="store_true", help=f"write {FILE.name}")
    parser.add_argument("--requests", type=int, default=1_000, help="to count (%(default)s)")
    parser.add_argument("--streams", type=int, default=100, help=f"of {CHUNKS} chunks, to count (%(default)s)")
    parser.add_argument("--plant", type=int, default=0, metavar="N", help="make every write slower: it reads N blanks")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    for source in outdated(HOME):
        print(f"{source} is newer than what was compiled of it: this counts what was compiled", file=sys.stderr)
    plans = (
        Plan("requests", options.requests, 1, options.plant),
        Plan("streams", options.streams, CHUNKS, options.plant),
    )
    counts, build = count_all(plans), this_build()
    entries = msgspec.json.decode(FILE.read_bytes(), type=list[Recorded])
    if not options.record:
        return judge(counts, nearest(entries, build), build)
    entries = keep(entries, Recorded(build, **counts))
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(entries), indent=2) + b"\n")
    print(FILE.read_text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
