"""`python -m bench.gates.ratios`: CPU per request beside haproxy's and per chunk beside nginx's, against limits.json.

Five interleaved pairs per unit, everything on; the median ratio counts. Fails (1) over a limit, in two clean tries. A
machine too noisy in three is told loudly, VOID, and passes: a gate must not fail for noise. `--record` writes limits of
what is reached. 2: it cannot be run here.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.e2e.race import Pace, Stage, measure, turned
from bench.e2e.ratios import Measurement
from bench.e2e.units import GOALS, NATIVE, UNITS, Unit
from bench.gates.limits import FILE, TRIES, Limit, Try, conclude, judge_try, make_limit
from bench.gates.plant import SlowPrograms
from bench.options import guarded
from bench.stage.programs import BenchError, Programs, Void, require
from bench.versions import commit, machine

GATED = ("request", "chunk")
PAIRS = 5
PACE = Pace(seconds=2, warm_up=1)


def read_limits() -> dict[str, Limit]:
    """limits.json, by unit."""
    return msgspec.json.decode(FILE.read_bytes(), type=dict[str, Limit])


def measure_pair(stage: Stage, number: int, pace: Pace) -> Iterator[Measurement]:
    """Anchor and gateway once each, in turned order."""
    for unit, name in turned(stage.entries, number):
        try:
            yield Measurement(name, unit.name, measure(stage.subject(unit, name), unit, stage.load(unit, name), pace))
        except Void as void:
            yield Measurement(name, unit.name, {}, str(void))


def try_once(stage: Stage, unit: Unit, pairs: int, pace: Pace) -> Try:
    """Some pairs, and whether they say anything."""
    before = cpu_times()
    rounds = [list(measure_pair(stage, number, pace)) for number in range(pairs)]
    return judge_try(rounds, unit.name, unit.anchor, stolen(before, cpu_times()))


def cpu_times() -> list[int]:
    """The kernel's account of all CPUs: user, nice, system, idle, iowait, irq, softirq, steal (man 5 proc)."""
    return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def stolen(before: Sequence[int], after: Sequence[int]) -> float:
    """The share of the time between that the hypervisor gave to others."""
    spent = [new - old for old, new in zip(before, after, strict=True)]
    return spent[7] / max(1, sum(spent))


def say(unit: str, limit: Limit, found: Try) -> None:
    """One line about one try."""
    told = "nothing measured"
    if (ratio := found.ratio) is not None:
        spread = f"{ratio.lowest:.2f} to {ratio.highest:.2f} in {ratio.rounds} pairs"
        told = f"{ratio.median:.2f} times {limit.anchor} ({spread}; {ratio.cpu_us:.1f} us)"
    print(f"{unit}: {told}, limit {limit.limit}" + (f": VOID: {found.void}" if found.void else ""), flush=True)


def gate(programs: Programs, unit: Unit, limit: Limit, pairs: int) -> bool:
    """Tries until it is decided; whether the unit passes."""
    stage = Stage(programs, [unit.anchor, NATIVE], [unit.name])
    tries: list[Try] = []
    while (verdict := conclude(tries, limit.limit)) == "undecided":
        tries.append(try_once(stage, unit, pairs, PACE))
        say(unit.name, limit, tries[-1])
    if verdict == "void":
        print(f"VOID VOID VOID: {unit.name} was NOT gated: this machine is too noisy, {TRIES} tries", flush=True)
    else:
        print(f"{unit.name}: {'ok' if verdict == 'held' else 'FAILED'}", flush=True)
    return verdict != "over"


def record(programs: Programs, unit: Unit, pairs: int) -> Limit:
    """A limit of what is reached now. Raises BenchError when this is no moment to record."""
    found = try_once(Stage(programs, [unit.anchor, NATIVE], [unit.name]), unit, pairs, PACE)
    if found.void or found.ratio is None:
        raise BenchError(f"{unit.name} cannot be recorded: {found.void}")
    (goal,) = [goal.limit for goal in GOALS if (goal.unit, goal.name, goal.anchor) == (unit.name, NATIVE, unit.anchor)]
    spread = f"{found.ratio.lowest:.2f} to {found.ratio.highest:.2f} in {pairs} pairs"
    comment = f"bench.gates.ratios --record at {commit()} on {machine()['cpu']}: {spread}"
    return make_limit(unit.anchor, goal, round(found.ratio.median, 3), comment)


def write_limits(old: dict[str, Limit], new: dict[str, Limit]) -> None:
    """Writes limits.json, and says which limits were raised."""
    for unit, limit in new.items():
        if unit in old and limit.limit > old[unit].limit:
            print(f"{unit}: the limit is RAISED from {old[unit].limit} to {limit.limit}: that needs an ADR")
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(old | new), indent=2) + b"\n")
    print(FILE.read_text(), end="")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench.gates.ratios", description=__doc__)
    parser.add_argument("--record", action="store_true", help=f"write {FILE.name}")
    parser.add_argument("--only", action="append", choices=GATED, help="this unit alone (again for more)")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="per try (%(default)s)")
    parser.add_argument("--plant", action="store_true", help="make the gateway slow: the gate must fail")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    require("haproxy", "nginx", "wrk")
    units = [UNITS[name] for name in options.only or GATED]
    limits = read_limits()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        (SlowPrograms if options.plant else Programs)(Path(folder)) as programs,
    ):
        if options.record:
            write_limits(limits, {unit.name: record(programs, unit, options.pairs) for unit in units})
            return 0
        passed = [gate(programs, unit, limits[unit.name], options.pairs) for unit in units]
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
