"""Processes that write usage and processes that settle it, to be killed.

Run: workers.py hold FOLDER | write FOLDER LIVES SEED SECONDS TS | settle FOLDER URL LIVES SEED SECONDS TS

hold: begins three requests, ends one, and waits to be killed. write: forks LIVES writers, one after another, kills each
with -9 at a random moment, and prints how far each came: [life, facts begun, facts done]. settle: forks LIVES
settlement services likewise, and prints how many were killed. SECONDS: of a life at most. TS: Unix seconds of facts.
"""

import asyncio
import json
import mmap
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from controlplane.ledger.books import Ledger
from controlplane.settlement.inbox import Inbox
from controlplane.settlement.plan import Plan
from controlplane.settlement.service import Clocks, SettlementService
from controlplane.store.database import Database, Options
from fastpath.money.price import Billable
from fastpath.outbox.facts import Fact, encode
from fastpath.outbox.keeper import Options as OutboxOptions
from fastpath.outbox.writer import OutboxWriter
from scheduler.clock import SystemClock
from tests.controlplane.ledger.facts import SECRET, delivered, end, failed, intent, mark

#: Small, so that lives are long enough to use several; the cap is out of reach.
OPTIONS = OutboxOptions(segment_bytes=65536, cap_bytes=1 << 30)
WINDOW = 8  # requests that run at once


def id_of(life: int, number: int) -> bytes:
    return life.to_bytes(8, "big") + number.to_bytes(8, "big")


def usage_of(number: int, part: int) -> Billable:
    """Of a mark (1, 2) or an end (3) of a request."""
    return Billable(input=100 + number % 37, output=part * (number % 23))


def facts_of(life: int, ts: float) -> Iterator[Fact]:
    """What a life writes, for ever: windows of requests, some of which fail over or are refused."""
    begin = 0
    while True:
        numbers = range(begin, begin + WINDOW)
        for number in numbers:
            yield intent(id_of(life, number), ts=ts)
            if number % 5 == 0:
                yield intent(id_of(life, number), 2, ts=ts)
        for part in (1, 2):
            for number in numbers:
                yield mark(id_of(life, number), 2 if number % 5 == 0 else 1, usage_of(number, part))
        for number in numbers:
            last = delivered(2 if number % 5 == 0 else 1, usage_of(number, 3))
            attempts = (failed(1, usage_of(number, 1)), last) if number % 5 == 0 else (last,)
            yield end(id_of(life, number), *attempts, ts=ts)
        begin += WINDOW


def hold(folder: Path) -> None:
    writer = OutboxWriter(folder, SystemClock(), OPTIONS)
    for fact in (intent(1), mark(1), intent(2), intent(3), end(3)):
        assert writer.put(encode(fact))
    print("ready", flush=True)
    signal.pause()


def write(folder: Path, life: int, ts: float, journal: mmap.mmap) -> None:
    counts = memoryview(journal).cast("Q")
    writer = OutboxWriter(folder, SystemClock(), OPTIONS)
    for number, fact in enumerate(facts_of(life, ts), 1):
        data = encode(fact)
        counts[0] = number
        while not writer.put(data):
            time.sleep(0.0005)  # until the next segment is ready
        counts[1] = number
        time.sleep(0.0002)


async def settle(folder: Path, url: str, ts: float) -> None:
    database = await Database.open(url, Options(wait_seconds=10, statement_seconds=10))
    clocks = Clocks(lambda: ts + 60, time.monotonic)
    service = SettlementService(
        Inbox(folder), Ledger(database, SECRET, now=clocks.now), database, clocks, Plan(batch=400, linger=0.01)
    )
    service.start()
    await asyncio.Event().wait()


def kill_all(lives: int, seed: int, seconds: float, live: Callable[[int, mmap.mmap], None]) -> list[list[int]]:
    """Forks lives, one after another, and kills each at a random moment of its `seconds`."""
    chance = random.Random(seed)
    came = []
    for life in range(1, lives + 1):
        journal = mmap.mmap(-1, 4096)
        pid = os.fork()
        if pid == 0:
            try:
                live(life, journal)
            finally:
                os._exit(1)
        time.sleep(chance.uniform(0.3, 1.0) * seconds)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, "it ended by itself"
        counts = memoryview(journal).cast("Q")
        came.append([life, counts[0], counts[1]])
    return came


def main(what: str, folder: Path, *rest: str) -> None:
    if what == "hold":
        hold(folder)
    elif what == "write":
        lives, seed, seconds, ts = int(rest[0]), int(rest[1]), float(rest[2]), float(rest[3])
        came = kill_all(lives, seed, seconds, lambda life, journal: write(folder, life, ts, journal))
        print(msgspec.json.encode(came).decode())
    else:
        url, lives, seed, seconds, ts = rest[0], int(rest[1]), int(rest[2]), float(rest[3]), float(rest[4])
        print(json.dumps(len(kill_all(lives, seed, seconds, lambda *_: asyncio.run(settle(folder, url, ts))))))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
