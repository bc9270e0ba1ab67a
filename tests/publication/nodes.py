"""A control plane and its nodes, each with folders of its own, under one pepper."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from _native.keytable import Row
from fastpath.publication import (
    Accepted,
    Folder,
    FolderWriter,
    Follower,
    Intake,
    NudgeListener,
    Publication,
    Publisher,
    SettingsSeal,
    Signer,
    Trust,
    Verifier,
    make_signer,
    settings_key,
)
from scheduler.clock import ManualClock

PATIENCE = 60.0
PEPPER = bytes(range(32))
PEPPER_ID = "0123abcd"
NOW = 1_700_000_000_000


def digest(number: int) -> bytes:
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=32).digest()


def rows(count: int, start: int = 0) -> list[Row]:
    return [Row(digest(n), n.to_bytes(16, "big"), n % 4, grant=n % 3) for n in range(start, start + count)]


class Plane:
    """The control plane's end: a folder, its publisher, and what nodes need to trust it."""

    def __init__(self, path: Path, signer: Signer | None = None) -> None:
        self.clock = ManualClock()
        self.path = path / "published"
        self.folder = Folder(self.path)
        self.signer = signer or make_signer(path / "keys")
        self.trust = Trust([self.signer.public])
        self.seal = SettingsSeal(settings_key(PEPPER))
        self.open()

    def open(self) -> None:
        """As after a restart."""
        writer = FolderWriter(self.folder)
        self.publisher = Publisher(writer, self.signer, self.seal, PEPPER_ID, self.clock)


class Node:
    """One process that follows a folder; notes what it took."""

    def __init__(self, path: Path, trust: Trust) -> None:
        self.folder = Folder(path)
        self.verifier = Verifier(trust, PEPPER_ID, Accepted(path))
        self.intake = Intake(self.folder, self.verifier, SettingsSeal(settings_key(PEPPER)))
        self.taken: list[Publication] = []
        self.said: list[str] = []
        self._news = asyncio.Event()

    def take(self) -> Publication | None:
        """One look, and what it gave accepted."""
        found = self.intake.take()
        if found is not None:
            self.intake.accept(found)
            self.taken.append(found)
        return found

    async def prepare(self, publication: Publication) -> Callable[[], None]:
        def swap() -> None:
            self.taken.append(publication)
            self._news.set()

        return swap

    async def until(self, true: Callable[[], object]) -> None:
        """Until something is true after a publication was taken."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._news.clear()
                await self._news.wait()

    @asynccontextmanager
    async def following(self, poll: float = 1.0) -> AsyncIterator[Follower]:
        """Follows the folder meanwhile."""
        with NudgeListener(self.folder.path) as nudges:
            follower = Follower(self.intake, nudges, self.prepare, self.said.append, poll)
            await follower.start()
            task = asyncio.create_task(follower.run())
            yield follower
            await ended(task)
            await follower.close()


async def ended(task: "asyncio.Task[None]") -> None:
    """Cancels it and sees it end; raises what it raised."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def eventually(true: Callable[[], object]) -> None:
    """Until something is true that announces itself to nobody here."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.005)


class Ticking:
    """A task that measures how long the loop stands still at most, in seconds."""

    def __init__(self, every: float = 0.0005) -> None:
        self.pauses: list[float] = []
        self._every = every

    async def __aenter__(self) -> "Ticking":
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await ended(self._task)

    async def _tick(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(self._every)
            self.pauses.append(time.perf_counter() - began - self._every)
