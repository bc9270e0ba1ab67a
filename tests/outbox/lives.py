"""Processes that write to an outbox. Run: lives.py kills FOLDER COUNT SEED | flood FOLDER SECONDS | sync FOLDER STEPS

kills: forks COUNT writers, one after another, and kills each with -9 at a random moment. Prints, for each, its stream
and how many of its appends had returned. flood: appends for some seconds, then says how many. sync: puts and syncs
STEPS times and says after each what became of it.
"""

import json
import mmap
import os
import random
import signal
import sys
import time
from pathlib import Path

from fastpath.outbox.keeper import Options
from fastpath.outbox.writer import OutboxWriter
from scheduler.clock import ManualClock, SystemClock

#: Small, so that lives are long enough to use several; the cap is out of reach.
OPTIONS = Options(segment_bytes=65536, cap_bytes=1 << 30)
_FILLER = bytes(range(256)) * 3


def record_of(number: int) -> bytes:
    """The record of a number: sizes differ, and every byte can be told."""
    return b"%d:" % number + _FILLER[number % 251 : number % 251 + 1 + number * 7919 % 500]


def live(folder: Path, journal: mmap.mmap) -> None:
    """Appends until killed. The journal has how many appends returned."""
    counts = memoryview(journal).cast("Q")
    writer = OutboxWriter(folder, SystemClock(), OPTIONS)
    name = writer.stream.name.encode()
    journal[64 : 64 + len(name)] = name
    number = 0
    while True:
        if writer.put(record_of(number)):
            number += 1
            counts[0] = number
        else:
            time.sleep(0.0005)  # until the next segment is ready


def kill_some(folder: Path, count: int, seed: int) -> None:
    chance = random.Random(seed)
    lives = []
    for _ in range(count):
        journal = mmap.mmap(-1, 4096)
        pid = os.fork()
        if pid == 0:
            live(folder, journal)
        while not any(journal[:8]):
            time.sleep(0.0005)
        time.sleep(chance.choice((0, 0.001, 0.01, 0.04)) * chance.random())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        name = bytes(journal[64:192]).rstrip(b"\0").decode()
        lives.append((name, int.from_bytes(journal[:8], "little")))
    print(json.dumps(lives))


def flood(folder: Path, seconds: float) -> None:
    writer = OutboxWriter(folder, SystemClock(), OPTIONS)
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        if writer.put(record_of(number)):
            number += 1
        else:
            time.sleep(0.0005)
        if number % 50 == 0:
            time.sleep(0.0002)  # so that the reader meets the tail often
    writer.close()
    print(number)


def sync_steps(folder: Path, steps: int) -> None:
    clock = ManualClock()
    writer = OutboxWriter(folder, clock, Options(segment_bytes=65536, cap_bytes=1 << 30), thread=False)
    said = []
    number = 0
    for _ in range(steps):
        for _ in range(10):
            assert writer.put(record_of(number))
            number += 1
        clock.advance(1.0)
        writer.step()
        said.append([writer.synced, writer.bad_segments, writer.healthy, writer.problem, writer.appender.moved])
    print(json.dumps(said))


if __name__ == "__main__":
    where = Path(sys.argv[2])
    match sys.argv[1]:
        case "kills":
            kill_some(where, int(sys.argv[3]), int(sys.argv[4]))
        case "flood":
            flood(where, float(sys.argv[3]))
        case _:
            sync_steps(where, int(sys.argv[3]))
