"""CPU time and resident memory of a process and all its descendants, read from /proc. Linux only."""

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


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
    """User plus system seconds used so far by these processes, all their threads."""
    spent = [_fields(pid) for pid in pids]
    return sum(int(fields[11]) + int(fields[12]) for fields in spent if fields) / TICK


def rss_mb(pids: list[int]) -> float:
    """Resident memory in MiB, summed."""
    return sum(_rss_kb(pid) for pid in pids) / 1024


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat behind the name; empty when the process is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def _rss_kb(pid: int) -> int:
    try:
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
