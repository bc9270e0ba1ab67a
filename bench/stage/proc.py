"""What processes use, read from the kernel: CPU time, memory, descriptors, threads, and a listener's queue. Linux only.

Owns no process. Every function takes pids and leaves out those that are gone.
"""

import os
import time
from collections.abc import Iterable
from itertools import islice, takewhile
from pathlib import Path

PROC = Path("/proc")
LISTENING = "0A"


def family(pid: int) -> list[int]:
    """The pid and every descendant alive now."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        fields = _fields(int(entry.name)) if entry.name.isdigit() else []
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User plus system seconds used so far by these processes, all their threads, ended ones included.

    From the processes' CPU clocks: the sum that /proc/PID/stat rounds to hundredths of a second.
    """
    return sum(_cpu_clock(pid) for pid in pids)


def rss_mb(pids: list[int]) -> float:
    """Resident memory in MiB, summed."""
    return sum(_kilobytes(pid, "status", "VmRSS:") for pid in pids) / 1024


def resident_bytes(pids: list[int]) -> int:
    """Resident bytes, pages that processes share counted once (PSS), so that workers of one parent may be added up."""
    return sum(_kilobytes(pid, "smaps_rollup", "Pss:") for pid in pids) * 1024


def descriptors(pids: list[int]) -> int:
    """Open file descriptors."""
    return sum(_entries(pid, "fd") for pid in pids)


def threads(pids: list[int]) -> int:
    """Threads."""
    return sum(_entries(pid, "task") for pid in pids)


def waiting_to_be_accepted(port: int) -> int:
    """Connections in the accept queues of the IPv4 listeners at a port."""
    with (PROC / "net" / "tcp").open() as table:
        return count_waiting(table, port)


def count_waiting(table: Iterable[str], port: int) -> int:
    """The same from the text of /proc/net/tcp. Listeners stand first in it: thousands of others cost nothing."""
    rows = (line.split() for line in islice(table, 1, None))
    listeners = takewhile(lambda row: row[3] == LISTENING, rows)
    return sum(int(row[4].partition(":")[2], 16) for row in listeners if _port(row[1]) == port)


def _port(address: str) -> int:
    return int(address.partition(":")[2], 16)


def _cpu_clock(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | 2)  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the kernel
    except OSError:
        return 0.0


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat behind the name; empty when the process is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def _kilobytes(pid: int, file: str, name: str) -> int:
    try:
        text = (PROC / str(pid) / file).read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(name))


def _entries(pid: int, folder: str) -> int:
    try:
        return len(os.listdir(PROC / str(pid) / folder))
    except OSError:
        return 0
