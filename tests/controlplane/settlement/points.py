"""Settles an outbox again and again, killed with -9 at the n-th step that touches a disk, for all n.

Run: points.py FOLDER DATABASE, where FOLDER/outbox holds what a dead worker wrote and DATABASE is an empty, migrated
file. Prints JSON: for each n how the killed life ended and whether the books of the life after it are those of one that
was never killed. A step is a statement, the moment before and after a commit, an fsync, and whatever Python reports of
files that are opened for writing, renamed or removed in the outbox.
"""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event, select

from controlplane.ledger.books import Ledger
from controlplane.ledger.tables import BALANCES, ENTRIES, QUARANTINE, REQUESTS, TRANSACTIONS
from controlplane.settlement.inbox import Inbox
from controlplane.settlement.plan import Plan
from controlplane.settlement.service import Clocks, SettlementService
from controlplane.store.database import Database
from tests.controlplane.ledger.facts import SECRET, T0

MOST = 2_000
BATCH = 4  # small, so that the outbox takes several batches, each with its cursor
WRITES = os.O_WRONLY | os.O_RDWR


class Steps:
    """Counts steps of this process, and kills it at one of them. 0: never."""

    def __init__(self, fatal: int) -> None:
        self._left = fatal

    def take(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_files(self, folder: Path) -> None:
        """From now on. Audit hooks cannot be taken back: for a process that is about to end only."""
        fsync = os.fsync

        def stepping(descriptor: Any) -> None:
            self.take()
            fsync(descriptor)

        os.fsync = stepping
        sys.addaudithook(lambda name, told: self._on_audit(name, told, str(folder)))

    def watch(self, database: Database) -> None:
        engine = database.engine.sync_engine
        commit = engine.dialect.do_commit

        def stepping(connection: Any) -> None:
            self.take()
            commit(connection)
            self.take()

        event.listen(engine, "before_cursor_execute", lambda *_: self.take())
        engine.dialect.do_commit = stepping  # type: ignore[method-assign]  # no event comes after a commit

    def _on_audit(self, name: str, told: tuple[Any, ...], folder: str) -> None:
        if name not in ("open", "os.rename", "os.remove") or not str(told[0]).startswith(folder):
            return
        if name != "open" or (isinstance(told[2], int) and told[2] & WRITES):
            self.take()


async def settle(folder: Path, url: str, steps: Steps | None) -> None:
    """Until nothing is left, of batches and of requests whose worker is dead."""
    database = await Database.open(url)
    if steps is not None:
        steps.watch_files(folder)
        steps.watch(database)
    ledger = Ledger(database, SECRET, now=lambda: T0 + 60)
    plan = Plan(batch=BATCH)
    service = SettlementService(Inbox(folder), ledger, database, Clocks(lambda: T0 + 60, time.monotonic), plan)
    while await service.step():
        pass
    await service.step()
    await service.close()
    await database.close()


async def books(url: str) -> str:
    """All rows that matter, in an order of their own, and what the ledger's check says."""
    database = await Database.open(url)
    rows: list[str] = []
    async with database.read() as connection:
        for table in (REQUESTS, TRANSACTIONS, ENTRIES, BALANCES, QUARANTINE):
            columns = [column for column in table.c if column.name not in ("seq", "transaction")]
            rows += sorted(repr(tuple(row)) for row in (await connection.execute(select(*columns))).all())
    violations = await Ledger(database, SECRET).violations(at_rest=True)
    await database.close()
    return hashlib.sha256("\n".join(rows).encode()).hexdigest() + repr(violations)


def fork(work: Callable[[], None]) -> int:
    """The exit code of a process that does this, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def live(given: Path, database: Path, fatal: int) -> tuple[int, str]:
    """One life that is killed at a step, and one after it; how the first ended, and the books after both."""
    place = given / f"life-{fatal}"
    shutil.copytree(given / "outbox", place / "outbox")
    shutil.copy(database, place / "ledger.db")
    url, folder = f"sqlite:///{place / 'ledger.db'}", place / "outbox"
    ended = fork(lambda: asyncio.run(settle(folder, url, Steps(fatal))))
    again = fork(lambda: asyncio.run(settle(folder, url, None)))
    left = sorted(path.name for path in folder.glob("*.seg*"))
    found = asyncio.run(books(url)) + repr(left) if again == 0 else f"the life after it ended with {again}"
    shutil.rmtree(place)
    return ended, found


def main(given: Path, database: Path) -> None:
    _, whole = live(given, database, 0)
    lives = []
    for fatal in range(1, MOST):
        ended, found = live(given, database, fatal)
        lives.append((ended, found == whole))
        if ended == 0:
            break
    print(json.dumps({"whole": whole, "lives": lives}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
