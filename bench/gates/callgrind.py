"""The replay under valgrind's callgrind: instructions of our own code, repeatable to a few in ten thousand.

Owns running it and reading its file. Does not judge (`instructions`). Counting begins at the replay's mark, after its
warm-up, and goes on only inside the two methods by which a connection is given bytes.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.stage.programs import HOME, BenchError, program_path

COUNTED = (
    "__pyx_pw_7_native_4door_16CallerConnection_*data_received",
    "__pyx_pw_7_native_5relay_10Connection_*data_received",
)
MARK = "__pyx_pw_7_native_5arena_*layout_size"
"""What bench.replay.mark enters."""
NAME = re.compile(r"(?:c?ob)=\((\d+)\)(?: (.+))?")


class Plan(msgspec.Struct, frozen=True):
    """One replay: mode, how many requests or streams, and how many units (requests, chunks) each of them is."""

    mode: str
    count: int
    units: int
    plant: int = 0


class Count(msgspec.Struct, frozen=True):
    """Instructions per unit: all of them, and those in objects of ours (kernels, the compiled path, msgspec)."""

    total: float
    ours: float


def count_all(plans: Iterable[Plan]) -> dict[str, Count]:
    """Counts by mode; the replays run beside each other, which changes nothing. Raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="callgrind-") as folder, ExitStack() as stack:
        paths = [(plan, Path(folder) / plan.mode) for plan in plans]
        begun = [(plan, path, _start(plan, path, stack)) for plan, path in paths]
        return {plan.mode: _finish(process, path, plan) for plan, path, process in begun}


def command(plan: Plan, path: Path) -> list[str]:
    """What counts one replay into a file."""
    valgrind = program_path("valgrind")
    if valgrind is None:
        raise BenchError("valgrind is not installed")
    tool = [
        valgrind,
        "--tool=callgrind",
        f"--callgrind-out-file={path}",
        "--collect-atstart=no",
        f"--zero-before={MARK}",
    ]
    tool += [f"--toggle-collect={name}" for name in COUNTED]
    replay = [sys.executable, "-P", "-m", "bench.replay", plan.mode, "--count", str(plan.count), "--rounds", "1"]
    return [*tool, *replay, "--plant", str(plan.plant)]


def _start(plan: Plan, path: Path, stack: ExitStack) -> subprocess.Popen[str]:
    # Hashes of strings decide where they lie in dictionaries: with a seed of their own per run counts would wander.
    environ = os.environ | {"PYTHONPATH": str(HOME), "PYTHONHASHSEED": "0"}
    process = subprocess.Popen(
        command(plan, path), cwd=HOME, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    stack.enter_context(process)
    stack.callback(process.kill)  # does nothing to one that has ended
    return process


def _finish(process: subprocess.Popen[str], path: Path, plan: Plan) -> Count:
    said = process.communicate()[1]
    if process.returncode != 0:
        raise BenchError(f"the replay of {plan.mode} ended with {process.returncode}: {said[-2000:]}")
    with path.open() as lines:
        objects = by_object(lines)
    total, own = sum(objects.values()), sum(count for name, count in objects.items() if is_ours(name))
    if not own:
        raise BenchError(f"nothing of ours was counted for {plan.mode}: are the kernels stripped of their symbols?")
    return Count(total / plan.count / plan.units, own / plan.count / plan.units)


def is_ours(name: str) -> bool:
    """Whether an object file is one of this project's, or msgspec's."""
    return (name.startswith(f"{HOME}/") and "/site-packages/" not in name) or "/msgspec/" in name


def by_object(lines: Iterable[str]) -> dict[str, int]:
    """Instructions spent in each object file itself, from callgrind's output format."""
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    current, called = "?", False
    for line in lines:
        if found := NAME.match(line):
            name = names.setdefault(found[1], (found[2] or "?").strip())
            current = name if line.startswith("ob=") else current
        elif line.startswith("calls="):
            called = True  # the next line is what the callee cost
        elif line[0] in "0123456789+-*":
            if not called:
                counts[current] = counts.get(current, 0) + int(line.split()[1])
            called = False
    return counts
