"""System calls per request, by strace: of the worker's loop alone, and of all its threads.

Owns running strace and reading its table. What strace slows down does not matter here: calls are counted, not timed.
"""

import re
import signal
import subprocess
import time
from pathlib import Path

import msgspec

from bench.load.requests import run_wrk, served
from bench.stage import LOAD_CPU
from bench.stage.callers import Load, make_body, make_callers, write_load
from bench.stage.gateway import Plan, Subject, start_gateway
from bench.stage.proc import family
from bench.stage.programs import BenchError, Programs, program_path
from bench.stage.upstreams import start_plain

ROW = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)\s*$", re.MULTILINE)
FUTEX_LIMIT = 0.01
"""Futex calls per request on the loop, at most: fewer than one per hundred requests is none per request."""

WARM_UP = 1


class Calls(msgspec.Struct, frozen=True):
    """Calls per request by name, of the loop's thread and of all threads of the worker."""

    requests: int
    loop: dict[str, float]
    all_threads: dict[str, float]


def count_calls(folder: Path, seconds: int, connections: int = 64) -> Calls:
    """Of a native worker under wrk. Raises BenchError when strace may not attach, Void when wrk was not served."""
    with Programs(folder) as programs:
        callers = make_callers(folder / "state")
        load = write_load(folder, "syscalls", callers.tokens, make_body("request"))
        plan = Plan(start_plain(programs).urls[:1])
        subject = start_gateway(programs, plan, callers, "syscalls")
        run_wrk(subject.port, load, connections, WARM_UP)  # what is loaded by the first requests is not counted
        worker = family(subject.pid)[1:]
        few, loop = _count(programs, subject, load, worker[:1], [], seconds, connections)
        requests, threads = _count(programs, subject, load, worker, ["-f"], seconds, connections)
    return Calls(few + requests, loop, threads)


def _count(
    programs: Programs, subject: Subject, load: Load, pids: list[int], flags: list[str], seconds: int, connections: int
) -> tuple[int, dict[str, float]]:
    table = programs.folder / f"strace{'-'.join(flags)}.txt"
    which = [part for pid in pids for part in ("-p", str(pid))]
    command = [program_path("strace") or "strace", "-c", *flags, "-o", str(table), *which]
    process = subprocess.Popen(["taskset", "-c", str(LOAD_CPU), *command], stderr=subprocess.PIPE)
    try:
        _await_attached(process, pids)
        requests = served(run_wrk(subject.port, load, connections, seconds))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    return requests, per_request(table.read_text(), requests)


def _await_attached(process: subprocess.Popen[bytes], pids: list[int]) -> None:
    """Returns once every process has a tracer."""
    while not all(re.search(r"TracerPid:\s+[1-9]", Path(f"/proc/{pid}/status").read_text()) for pid in pids):
        if process.poll() is not None:
            raise BenchError(f"strace: {(process.communicate()[1] or b'').decode().strip()}")
        time.sleep(0.02)


def per_request(table: str, requests: int) -> dict[str, float]:
    """Calls by name in a table of `strace -c`, divided; the busiest first."""
    found = {name: int(calls) / requests for calls, name in ROW.findall(table) if name != "total"}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def judge_calls(calls: Calls) -> list[str]:
    """Goals missed."""
    futex = calls.loop.get("futex", 0.0)
    return [f"{futex:.3f} futex calls per request on the loop, at most {FUTEX_LIMIT}"] if futex > FUTEX_LIMIT else []
