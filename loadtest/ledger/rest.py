"""The node at rest: nothing runs, the outbox is empty of what is over, and what the arena still holds.

Owns the looks from outside. Does not judge: what is still there when the patience ends is the checker's to find.
Concurrency: one event loop.
"""

import asyncio
import mmap
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial

from _native.arena import Arena
from controlplane.store.database import Database
from fastpath.arena import NAME, boot_name, install_secret
from fastpath.liaison import PulseAsked, Vitals
from fastpath.limits.book import Book
from fastpath.limits.plan import slots_id
from fastpath.outbox.folder import list_segments
from fastpath.process.liaison import Liaison, NoAnswer
from fastpath.settings.pepper import make_pepper
from fastpath.settings.source import SettingsSource
from loadtest.chaos.stage import fetch
from loadtest.checker.accounts import Held
from loadtest.ledger.extract import count_open
from loadtest.ledger.stage import MODEL, Stage

LOOK_S = 0.2
PATIENCE_S = 60.0


async def wait_rest(stage: Stage, database: Database) -> str:
    """Until nothing runs, all of it is in the books, and no dead worker has a segment; "" or what is left."""
    deadline = time.monotonic() + PATIENCE_S
    left = await _wait(partial(_running, stage), deadline)
    return left or await _wait(partial(_unbooked, stage, database, time.monotonic()), deadline)


async def _wait(look_for: Callable[[], Awaitable[str]], deadline: float) -> str:
    while left := await look_for():
        if time.monotonic() > deadline:
            return left
        await asyncio.sleep(LOOK_S)
    return ""


async def _running(stage: Stage) -> str:
    running = (await fetch(stage.node.admin_port, "/debug/requests")).partition(b"\r\n\r\n")[2]
    return f"requests run: {running[:200].decode()}" if b'"id"' in running else ""


async def _unbooked(stage: Stage, database: Database, quiet: float) -> str:
    """What is not in the books of what was written before `quiet` (monotonic seconds)."""
    living = {str(pid) for pid in stage.workers()}
    dead = [one.name for one in list_segments(stage.state / "outbox") if one.name.partition("-")[0] not in living]
    if dead:
        return f"segments of dead workers: {dead}"
    try:
        told = await Liaison(stage.state).ask(PulseAsked(), PATIENCE_S)
    except NoAnswer as error:
        return f"the control process: {error}"
    if not isinstance(told, Vitals) or told.lag_seconds > time.monotonic() - quiet:
        return "the outbox was not read to its end since"
    count, _ = await count_open(database)
    if count:
        return f"{count} requests are open in the books"
    return "the arena holds leases" if look(stage).leases else ""


def look(stage: Stage) -> Held:
    """What the arena holds now; nothing of it is changed."""
    with (stage.arena / NAME).open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    arena = Arena.attach(memory, install_secret(make_pepper(stage.state)), boot_name())
    settings = SettingsSource(environ={}, uid=os.geteuid(), config=stage.settings).read()
    book = Book(settings, arena)
    held = Held(leases=arena.rows_used["leases"])
    for key in settings.keys:
        plan = book.plan(key.name, MODEL)
        plan.turn(time.time())
        held.places += sum(arena.limit(slots_id(bound)).in_use for bound in plan.slots)
        held.reserved += sum(plan.limiter.committed(place)[1] for place in range(len(plan.funds)))
    return held
