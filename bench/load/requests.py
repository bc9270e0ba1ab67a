"""CPU per request that is not streamed, under wrk: closed loop, CPU 1.

Owns running wrk and reading its report.
"""

import os
import re
import secrets
import subprocess
from pathlib import Path

import msgspec

from bench.stage import LOAD_CPU
from bench.stage.callers import PATH, Load
from bench.stage.gateway import Subject
from bench.stage.proc import cpu_seconds, family, rss_mb
from bench.stage.programs import Void, program_path

SCRIPT = Path(__file__).parent / "rotate.lua"
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


class Requests(msgspec.Struct, kw_only=True):
    """What was measured. Latencies in ms; `answered` includes the warm-up, `cut` bounds requests cut off."""

    requests: int
    answered: int
    cut: int
    rps: float
    cpu_us: float
    cpu_percent: float
    p50_ms: float
    p99_ms: float
    rss_mb: float


def measure_requests(subject: Subject, load: Load, connections: int, seconds: int, warm_up: int = 2) -> Requests:
    """Loads the subject for `seconds` after a warm-up. Raises Void."""
    warm = served(run_wrk(subject.port, load, connections, warm_up))
    pids = family(subject.pid)
    before = cpu_seconds(pids)
    out = run_wrk(subject.port, load, connections, seconds)
    used = cpu_seconds(pids) - before
    if set(pids) - set(family(subject.pid)):
        raise Void("a counted process ended during the run")
    count = served(out)
    return Requests(
        requests=count,
        answered=warm + count,
        cut=2 * connections,
        rps=count / seconds,
        cpu_us=used / count * 1e6,
        cpu_percent=used / seconds * 100,
        p50_ms=percentile(out, 50),
        p99_ms=percentile(out, 99),
        rss_mb=rss_mb(pids),
    )


def run_wrk(port: int, load: Load, connections: int, seconds: int) -> str:
    """wrk's report."""
    command = ["taskset", "-c", str(LOAD_CPU), program_path("wrk") or "wrk", "-t1", f"-c{connections}", f"-d{seconds}"]
    command += ["--latency", "--timeout", "10s", "-s", str(SCRIPT), f"http://127.0.0.1:{port}{PATH}"]
    environ = {"LOAD_HEADS": str(load.heads), "LOAD_BODY": str(load.body), "LOAD_SEED": new_seed()}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environ, check=False)
    if done.returncode != 0:
        raise Void(f"wrk: {done.stderr.strip()[-500:]}")
    return done.stdout


def new_seed() -> str:
    """Four digits that tell one run's bodies from another's."""
    return f"{secrets.randbelow(10_000):04d}"


def served(out: str) -> int:
    """Requests answered, by wrk's report. Raises Void when there are none or some were not 2xx."""
    count = re.search(r"(\d+) requests in", out)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: .*", out)
    if count is None or int(count[1]) == 0:
        raise Void("nothing served")
    if bad is not None:
        raise Void(bad[0])
    return int(count[1])


def percentile(out: str, percent: int) -> float:
    """A latency of wrk's report in ms; nan when it is not there."""
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", out, re.MULTILINE)
    return float(found[1]) * UNITS[found[2]] if found else float("nan")
