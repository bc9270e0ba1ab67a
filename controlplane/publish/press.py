"""Keeps the folder of publications at what the database says.

Owns when: at the start, after a change (at most one publication in `SPACING`; changes meanwhile share the next), and
when another control process changed the same database, which is looked for once a second. That a key ends is no change:
its row says when. Does not own what is published (`compile`), nor its files (`fastpath.publication`). Concurrency: one
task; the disk is one thread's.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from _native.clock import SystemClock
from _native.keytable import KeyTableError
from controlplane.publish.compile import Compiled, compile_all, compile_changes
from controlplane.publish.rows import Difference
from controlplane.publish.touched import read_mark
from controlplane.registry.published import Reveal, reveal_nothing
from controlplane.secrets.seal import SealError
from controlplane.store.database import Database
from controlplane.store.errors import StoreError
from controlplane.store.metadata import micros
from fastpath.publication import (
    Folder,
    FolderWriter,
    PublicationError,
    Publisher,
    Refused,
    SettingsSeal,
    Trust,
    make_signer,
    read_trust,
    settings_key,
    write_trust,
)
from fastpath.settings.control import PUBLISHED, TRUSTED

SPACING: Final = 0.2
LOOK_EVERY: Final = 1.0

_LOG: Final = logging.getLogger(__name__)
_FAILURES: Final = (StoreError, PublicationError, Refused, KeyTableError, SealError, OSError)


class Press:
    """Publishes one database into one folder. `now`: Unix seconds.

    `open_folder` gives the publisher; while it fails, as when an older process still writes there, it is tried again.
    """

    def __init__(
        self,
        database: Database,
        open_folder: Callable[[], Publisher],
        pepper_id: str,
        now: Callable[[], float],
        reveal: Reveal = reveal_nothing,
    ) -> None:
        self.published = 0
        self.version = 0  # of what was last published; 0: nothing yet by this process
        self._database = database
        self._open_folder = open_folder
        self._publisher: Publisher | None = None
        self._pepper_id = pepper_id
        self._now = now
        self._reveal = reveal
        self._thread = ThreadPoolExecutor(1, "publish")
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._last: Compiled | None = None
        self._out = False  # whether that is what lies in the folder
        self._told = ""
        self._said: frozenset[str] = frozenset()

    def changed(self) -> None:
        """Something was committed."""
        self._wake.set()

    async def run(self) -> None:
        """Until `stop`; what was committed before that is published."""
        while True:
            self._wake.clear()
            stopping = self._stopping.is_set()
            done = await self._try()
            if stopping:
                return
            await _wait(self._stopping, SPACING)
            await self._rest(done)

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()
        self._wake.set()

    async def close(self) -> None:
        """Lets another process write the folder."""
        await asyncio.to_thread(self._thread.shutdown)
        if self._publisher is not None:
            self._publisher.close()

    async def publish(self) -> bool:
        """Compiles and publishes what changed; whether there was anything. Raises StoreError, OSError and the like."""
        compiled = await self._compile()
        fresh = not self._out or self._last is None or _differs(compiled, self._last)
        if fresh:
            # Until it is known that this one is out, nobody knows what the next one would be a change to.
            changes = compiled.difference if self._out else None
            self._last, self._out = compiled, False
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, compiled, changes)
            self.published += 1
        self._report(compiled)
        self._last, self._out = compiled, True
        return fresh

    async def _compile(self) -> Compiled:
        at = micros(self._now())
        async with self._database.read() as connection:
            if self._last is None:
                return await compile_all(connection, at, self._pepper_id, self._reveal)
            return await compile_changes(connection, at, self._pepper_id, self._reveal, self._last)

    def _write(self, compiled: Compiled, changes: Difference | None) -> None:
        """The rows that changed, as long as what they point at stands where it stood; else all of them."""
        if self._publisher is None:
            self._publisher = self._open_folder()
        if changes is None:
            self.version = self._publisher.publish_all(compiled.roster, compiled.rows).version
        else:
            self.version = self._publisher.publish_changes(compiled.roster, changes.changed, changes.gone).version

    async def _try(self) -> bool:
        try:
            await self.publish()
        except _FAILURES as problem:
            self._tell(f"not published, nodes go on with what they have: {problem}")
            return False
        except Exception as bug:  # the admin API goes on, and so do the tries: a revocation must not wait for a restart
            self._tell(f"not published because of a bug, please report it: {bug!r}", trace=True)
            return False
        self._told = ""
        return True

    async def _rest(self, done: bool) -> None:
        """Until there is something to publish."""
        while not await _wait(self._wake, LOOK_EVERY):
            if not done or await self._stale():
                return

    async def _stale(self) -> bool:
        try:
            async with self._database.read() as connection:
                return self._last is None or await read_mark(connection) != self._last.scene.mark
        except StoreError:
            return True  # the next try says it

    def _report(self, compiled: Compiled) -> None:
        for sentence in compiled.held_back:
            if sentence not in self._said:
                _LOG.warning("%s", sentence)
        self._said = frozenset(compiled.held_back)

    def _tell(self, problem: str, *, trace: bool = False) -> None:
        if problem != self._told:
            self._told = problem
            _LOG.warning("%s", problem, exc_info=trace)


@asynccontextmanager
async def open_press(
    database: Database,
    folder: Path,
    pepper: bytes,
    pepper_id: str,
    now: Callable[[], float],
    reveal: Reveal = reveal_nothing,
) -> AsyncIterator[Press]:
    """A press at work on the state folder. reveal: opens the keys of endpoints."""
    press = Press(database, lambda: open_publisher(folder, pepper, pepper_id), pepper_id, now, reveal)
    working = asyncio.create_task(press.run())
    try:
        yield press
    finally:
        press.stop()
        await working
        await press.close()


def open_publisher(folder: Path, pepper: bytes, pepper_id: str) -> Publisher:
    """The publisher of a state folder, whose signing key is made and trusted when there is none. Waits for the disk.

    Raises PublicationError, OSError.
    """
    signer = make_signer(folder)
    trust = read_trust(folder / TRUSTED)
    if trust is None:
        trust = Trust([signer.public])
        write_trust(folder / TRUSTED, trust)
    if signer.public not in trust.keys:
        raise PublicationError(
            f"{folder / TRUSTED} does not list the key in {folder}/signing-key, so no node would take what it signs: "
            "restore the one that belongs to it, or remove trusted-keys"
        )
    writer = FolderWriter(Folder(folder / PUBLISHED))
    publisher = Publisher(writer, signer, SettingsSeal(settings_key(pepper)), pepper_id, SystemClock())
    try:
        publisher.resume(trust)
    except Refused as refused:
        _LOG.warning("what was published before is not usable (%s); all of it is published anew", refused)
    except BaseException:
        publisher.close()
        raise
    return publisher


def _differs(compiled: Compiled, last: Compiled) -> bool:
    """Whether there is anything to publish."""
    if compiled.difference is None:
        return (compiled.roster, compiled.kept.good) != (last.roster, last.kept.good)
    return compiled.roster != last.roster or bool(compiled.difference.changed or compiled.difference.gone)


async def _wait(event: asyncio.Event, most: float) -> bool:
    """Whether it was set within so many seconds."""
    try:
        async with asyncio.timeout(most):
            await event.wait()
    except TimeoutError:
        return False
    return True
