"""System calls per request, counted by the kernel (`perf stat`): of the worker's loop alone, and of all its threads.

Owns running perf and reading its table. Not strace: it stops a process at every call, so that callers who come in a
crowd are an overload to it, and what happens so many times a second looks as if it happened for every thirtieth request
(0.03 futex calls where there are 0.00, measured). What was served meanwhile is told by the gateway's own metrics.
"""

import concurrent.futures
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.e2e.books import read_metrics
from bench.load.requests import run_wrk, served
from bench.stage import LOAD_CPU
from bench.stage.callers import Load, make_body, make_callers, write_load
from bench.stage.gateway import Plan, Subject, start_gateway
from bench.stage.proc import family
from bench.stage.programs import BenchError, Programs, Void, program_path
from bench.stage.upstreams import start_plain

ROW = re.compile(r"^(\d+|<[^>]*>),[^,]*,(?:raw_)?syscalls:sys_enter(?:_(\w+))?,", re.MULTILINE)
NOT_SUPPORTED = "<not supported>"
ALL, FUTEX = "all", "futex"
NAMES = (
    *(FUTEX, "epoll_wait", "epoll_pwait", "epoll_ctl", "recvfrom", "sendto", "read", "write", "writev"),
    *("socket", "connect", "accept4", "shutdown", "close", "getsockopt", "setsockopt", "getrandom", "madvise"),
)
EVENTS = ",".join(["raw_syscalls:sys_enter", *(f"syscalls:sys_enter_{name}" for name in NAMES)])
"""All calls, and those by name that a request may need: perf takes seconds to open every name that there is."""
FUTEX_LIMIT = 0.01
"""Futex calls per request on the loop, at most: fewer than one per hundred requests is none per request."""

WARM_UP = 1
OPENING = 4
"""Seconds that the load goes on besides: perf may take so long to open its counters."""


class Calls(msgspec.Struct, frozen=True):
    """Calls per request by name, of the loop's thread and of all threads of the worker."""

    requests: int
    loop: dict[str, float]
    all_threads: dict[str, float]


def count_calls(folder: Path, seconds: int, connections: int = 64) -> Calls:
    """Of a native worker under wrk. Raises BenchError when perf may not count, Void when wrk was not served."""
    with Programs(folder) as programs:
        callers = make_callers(folder / "state")
        load = write_load(folder, "syscalls", callers.tokens, make_body("request"))
        plan = Plan(start_plain(programs).urls[:1])
        subject = start_gateway(programs, plan, callers, "syscalls")
        run_wrk(subject.port, load, connections, WARM_UP)  # what is loaded by the first requests is not counted
        worker = family(subject.pid)[1]
        few, loop = _count(folder, subject, load, ["-t", str(worker)], seconds, connections)
        requests, threads = _count(folder, subject, load, ["-p", str(worker)], seconds, connections)
    return Calls(few + requests, loop, threads)


def _count(
    folder: Path, subject: Subject, load: Load, whom: list[str], seconds: int, connections: int
) -> tuple[int, dict[str, float]]:
    """Requests served meanwhile, and calls per request. Raises Void when the load did not last, or was not served."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(run_wrk, subject.port, load, connections, WARM_UP + seconds + OPENING)
        time.sleep(WARM_UP)
        requests, table = _watch(folder / "calls", subject, whom, seconds, loaded.done)
        served(loaded.result())
    if not requests:
        raise Void("no request was served while calls were counted")
    return requests, per_request(table, requests)


def _watch(table: Path, subject: Subject, whom: list[str], seconds: int, over: Callable[[], bool]) -> tuple[int, str]:
    """Requests served, and perf's table. It counts a moment longer than they are: a call too many, never one too few.
    Raises Void when the load is `over` too soon."""
    with counting(table, whom) as tell:
        tell("enable")
        before = _answered(subject)
        time.sleep(seconds)
        requests = _answered(subject) - before
        tell("disable")
        if over():
            raise Void("the load ended before its calls were counted")
    return requests, table.read_text()


@contextmanager
def counting(table: Path, whom: list[str]) -> Iterator[Callable[[str], None]]:
    """perf, which counts when it is told to and has written the table once this is left. Raises BenchError."""
    (orders, order), (heard, hears) = os.pipe(), os.pipe()
    flags = ["-x", ",", "-o", str(table), "-e", EVENTS, "-D", "-1", "--control", f"fd:{orders},{hears}", *whom]
    command = ["taskset", "-c", str(LOAD_CPU), program_path("perf") or "perf", "stat", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(orders, hears))
    os.close(orders)
    os.close(hears)

    def tell(text: str) -> None:
        try:
            os.write(order, f"{text}\n".encode())
            ended = not os.read(heard, 16)
        except BrokenPipeError:
            ended = True
        if ended:
            raise BenchError(f"perf: {process.communicate()[0].decode().strip()}")

    try:
        yield tell
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        os.close(order)
        os.close(heard)


def _answered(subject: Subject) -> int:
    return int(read_metrics(subject.admin).get("ai_inference_requests_total", 0))


def per_request(table: str, requests: int) -> dict[str, float]:
    """Calls by name in a table of `perf stat -x ,`, divided; the busiest first, those never made left out.

    Raises BenchError for what this machine cannot count, Void when something was not counted: that is no zero.
    """
    rows = {name or ALL: text for text, name in ROW.findall(table)}
    if NOT_SUPPORTED in rows.values():
        unknown = [name for name, text in rows.items() if text == NOT_SUPPORTED]
        raise BenchError(f"perf cannot count {', '.join(unknown)} here")
    uncounted = [name for name, text in rows.items() if not text.isdigit()]
    uncounted += [name for name in (ALL, FUTEX) if name not in rows]
    if uncounted:
        raise Void(f"perf did not count {', '.join(uncounted)}")
    found = {name: int(text) / requests for name, text in rows.items() if int(text)}
    if not found:
        raise Void("perf counted no call at all")
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def judge_calls(calls: Calls) -> list[str]:
    """Goals missed."""
    futex = calls.loop.get(FUTEX, 0.0)
    return [f"{futex:.3f} futex calls per request on the loop, at most {FUTEX_LIMIT}"] if futex > FUTEX_LIMIT else []
