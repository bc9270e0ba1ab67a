"""`python -m bench.race.per_request --pid PID --url URL`: CPU microseconds per request that is not streamed, under wrk.

Prints one JSON object. Exits 1 with the reason when the measurement is void.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.race.proc import cpu_seconds, family, rss_mb
from bench.race.sdk_headers import HEADERS

HERE = Path(__file__).parent
WARM_UP = 2


class Requests(msgspec.Struct, kw_only=True):
    """What was measured. Times as wrk prints them; `answered` includes the warm-up, `cut` bounds requests cut off."""

    requests: int
    answered: int
    cut: int
    rps: float
    cpu_us: float
    p50: str
    p99: str
    rss_mb: float


class Void(Exception):
    """The measurement says nothing; the text is why."""


def measure(pid: int, url: str, body: Path, key: str, connections: int, seconds: int) -> Requests:
    """Loads `url` for `seconds`; `pid` is the root of the processes that are counted. Raises Void."""

    def wrk(duration: int) -> str:
        command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{duration}", "--latency"]
        environ = os.environ | {"RACE_BODY": str(body), "RACE_KEY": key, "RACE_HEADERS": _header_lines()}
        command += ["-s", str(HERE / "post.lua"), url]
        return subprocess.run(command, capture_output=True, text=True, env=environ, check=True).stdout

    warm = served(wrk(WARM_UP))
    pids = family(pid)
    before = cpu_seconds(pids)
    out = wrk(seconds)
    used = cpu_seconds(pids) - before
    if set(pids) - set(family(pid)):
        raise Void("a counted process ended during the run")
    count = served(out)
    return Requests(
        requests=count,
        answered=warm + count,
        cut=2 * connections,
        rps=count / seconds,
        cpu_us=used / count * 1e6,
        p50=_percentile(out, 50),
        p99=_percentile(out, 99),
        rss_mb=rss_mb(pids),
    )


def served(out: str) -> int:
    """Requests answered, by wrk's report. Raises Void when there are none or some were not 2xx."""
    count = re.search(r"(\d+) requests in", out)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: .*", out)
    if count is None or int(count[1]) == 0:
        raise Void(f"nothing served: {out}")
    if bad is not None:
        raise Void(bad[0])
    return int(count[1])


def _percentile(out: str, percent: int) -> str:
    found = re.search(rf"^\s+{percent}%\s+(\S+)", out, re.MULTILINE)
    return found[1] if found else "?"


def _header_lines() -> str:
    return "\n".join(f"{name}: {text}" for name, text in HEADERS.items())


def main() -> None:
    parser = argparse.ArgumentParser("bench.race.per_request")
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--body", type=Path, default=HERE / "request.json")
    parser.add_argument("--key", default="sk-test-1234567890")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=6)
    try:
        print(msgspec.json.encode(measure(**vars(parser.parse_args()))).decode())
    except Void as void:
        sys.exit(f"void: {void}")


if __name__ == "__main__":
    main()
