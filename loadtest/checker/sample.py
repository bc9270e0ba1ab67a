"""Process samples for J8, read from /proc: `python -m loadtest.checker.sample --pid gateway=4711 [--seconds 60]`.

Owns the reading. Writes one JSON line per process and second. Linux only; needs the right to read the process's fds.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import msgspec

from loadtest.checker.history import Sample
from scheduler.clock import Clock, SystemClock

PROC = Path("/proc")
LISTEN = "0A"


def sample(process: str, pid: int, clock: Clock) -> Sample:
    """The gauges of one process now; `tasks` are its threads. Raises OSError when it is gone or not ours."""
    links = [_target(link) for link in (PROC / str(pid) / "fd").iterdir()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    return Sample(
        process=process,
        at=clock.now(),
        fds=len(links),
        tasks=len(list((PROC / str(pid) / "task").iterdir())),
        connections=len(inodes & _connections(pid)),
        rss=int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    )


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""  # Closed since the folder was listed; the listing itself holds one such descriptor of ours.


def _connections(pid: int) -> set[str]:
    """Inodes of TCP sockets that do not listen, in the process's network namespace."""
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        if (table := PROC / str(pid) / "net" / name).exists()
        for line in table.read_text().splitlines()[1:]
    ]
    return {row[9] for row in rows if row[3] != LISTEN}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("loadtest.checker.sample")
    parser.add_argument("--pid", action="append", required=True, metavar="NAME=PID", help="repeatable")
    parser.add_argument("--seconds", type=int, default=0, help="go on for so long, one sample a second")
    options = parser.parse_args(arguments)
    clock = SystemClock()
    for second in range(options.seconds + 1):
        time.sleep(1 if second else 0)
        for name, _, pid in (item.partition("=") for item in options.pid):
            print(msgspec.json.encode(sample(name, int(pid), clock)).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
