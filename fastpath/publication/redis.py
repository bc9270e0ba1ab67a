"""Carries publications between nodes through Redis, which nobody trusts.

Owns: the keys `<prefix>:manifest` and `<prefix>:<piece>`, the channel `<prefix>:news`, and the time every call may
take. `Uplink` keeps in Redis what a folder holds; `Downlink` brings what Redis holds into a folder, after verifying it
as if a stranger had sent it. Workers use neither: they follow the folder. So a Redis that is gone, frozen or lying
changes nothing. Concurrency: each is one task on a loop; what waits for the disk runs in a thread.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import redis.asyncio as redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from fastpath.publication.disk import Draft
from fastpath.publication.folder import Folder, FolderWriter
from fastpath.publication.manifest import Blob, Manifest, Table
from fastpath.publication.pieces import read_blob, read_table
from fastpath.publication.problem import PublicationError, Refused
from fastpath.publication.trust import MOST_ENVELOPE, Trust
from fastpath.publication.verifier import Verifier

BUDGET: Final = 0.05
"""Seconds that one call to Redis may take, connecting included."""
POLL: Final = 1.0
CHUNK: Final = 256 << 10
"""Bytes of a piece that one call carries."""
_LEFT: Final = 600
"""Seconds that pieces stay which no manifest names any more."""

Given = TypeVar("Given")
Say = Callable[[str], None]


class Unreachable(Exception):
    """Redis did not answer in time, or not as Redis does."""


class Link:
    """Calls to one Redis, none longer than `budget` seconds. `failures` counts those that failed."""

    def __init__(
        self, url: str, prefix: str, budget: float = BUDGET, password: str | None = None, ca_file: str | None = None
    ) -> None:
        self.failures = 0
        self._prefix = prefix
        self._budget = budget
        given: dict[str, Any] = {"password": password, "ssl_ca_certs": ca_file}
        self.client = redis.Redis.from_url(
            url,
            socket_timeout=budget,
            socket_connect_timeout=budget,
            retry=Retry(NoBackoff(), 0),  # the next look is the retry
            protocol=2,
            driver_info=None,
            **{name: value for name, value in given.items() if value is not None},
        )

    def key(self, name: str) -> str:
        """A key or a channel of this installation."""
        return f"{self._prefix}:{name}"

    async def call(self, answer: Awaitable[Given], budget: float | None = None) -> Given:
        """What Redis answers. Raises Unreachable, after the budget at the latest."""
        try:
            async with asyncio.timeout(budget or self._budget):
                given = await answer
        except Exception as error:  # a server that is no Redis makes its client raise whatever its parser stumbles over
            _heed_cancellation()
            self.failures += 1
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        _heed_cancellation()
        return given

    async def read(self, name: str, start: int, end: int) -> bytes:
        """Bytes of a value, both ends included; fewer, or none, where it is shorter. Raises Unreachable."""
        data = await self.call(self.client.getrange(self.key(name), start, end))
        return data if isinstance(data, bytes) and len(data) <= end - start + 1 else b""

    async def hears(self, channel: PubSub, most: float) -> bool:
        """Whether there was news within `most` seconds. Raises Unreachable."""
        found = await self.call(channel.get_message(timeout=most), most + self._budget)
        return found is not None

    async def close(self) -> None:
        """Lets the connections go."""
        await self.client.aclose()


class Uplink:
    """Keeps Redis at what `folder` holds, also after Redis lost it. The control plane runs one."""

    def __init__(self, link: Link, folder: Folder, trust: Trust, say: Say) -> None:
        self._link = link
        self._folder = folder
        self._trust = trust
        self._teller = _Teller(say)
        self._wake = asyncio.Event()
        self.pushed = 0

    def wake(self) -> None:
        """Looks at once, because something was published."""
        self._wake.set()

    async def run(self, poll: float = POLL) -> None:
        """Until it is cancelled. What fails is tried again at the next look."""
        while True:
            self._wake.clear()
            try:
                await self.push()
                self._teller.well()
            except Unreachable:
                pass  # counted
            except (Refused, PublicationError, OSError) as problem:
                self._teller.tell(f"not sent to Redis: {problem}")
            await _wait(self._wake, poll)

    async def push(self) -> bool:
        """Brings Redis to what the folder holds, unless it holds something newer. Whether anything was written.

        Raises Unreachable; Refused when the folder changes meanwhile; PublicationError, OSError.
        """
        envelope = await asyncio.to_thread(self._folder.envelope)
        if envelope is None:
            return False
        manifest = self._trust.open(envelope)
        there = await self._link.read("manifest", 0, MOST_ENVELOPE)
        missing = [piece for piece in manifest.pieces if not await self._has(piece)]
        if there == envelope and not missing:
            return False
        before = self._known(there)
        if before is not None and before.version > manifest.version:
            return False
        for piece in missing:
            await self._upload(piece)
        await self._announce(envelope, manifest, before)
        self.pushed += 1
        return True

    def _known(self, there: bytes) -> Manifest | None:
        """What Redis holds, when one of our signers made it."""
        try:
            return self._trust.open(there)
        except Refused:
            return None  # garbage, or nothing: written over

    async def _has(self, piece: Blob | Table) -> bool:
        return await self._link.call(self._link.client.strlen(self._link.key(piece.name))) == piece.size

    async def _upload(self, piece: Blob | Table) -> None:
        """Under another name first, which passes away by itself if this process does."""
        client, key = self._link.client, self._link.key(piece.name)
        draft = f"{key}.{os.urandom(8).hex()}"
        at = 0
        async for chunk in self._chunks(piece):
            await self._link.call(client.setrange(draft, at, chunk))
            await self._link.call(client.expire(draft, _LEFT))
            at += len(chunk)
        await self._link.call(client.rename(draft, key))

    async def _chunks(self, piece: Blob | Table) -> AsyncIterator[bytes]:
        descriptor = await asyncio.to_thread(self._folder.open, piece)
        try:
            for at in range(0, piece.size, CHUNK):
                yield await asyncio.to_thread(os.pread, descriptor, CHUNK, at)
        finally:
            os.close(descriptor)

    async def _announce(self, envelope: bytes, manifest: Manifest, before: Manifest | None) -> None:
        """All at once: the manifest, its pieces for good, those of the one before for a while, and the news."""
        used = {piece.name for piece in manifest.pieces}
        calls = self._link.client.pipeline(transaction=True)
        calls.set(self._link.key("manifest"), envelope)
        for name in used:
            calls.persist(self._link.key(name))
        for piece in before.pieces if before is not None else ():
            if piece.name not in used:
                calls.expire(self._link.key(piece.name), _LEFT)
        calls.publish(self._link.key("news"), b"!")
        await self._link.call(calls.execute())


class Downlink:
    """Brings publications from Redis into a folder of its own, as its only writer. One runs on each node."""

    def __init__(self, link: Link, writer: FolderWriter, verifier: Verifier, say: Say) -> None:
        self._link = link
        self._writer = writer
        self._folder = writer.folder
        self._verifier = verifier
        self._teller = _Teller(say)
        self._news = asyncio.Event()
        self._refused = b""
        self._verified: frozenset[str] = frozenset()
        self.pulled = 0

    async def run(self, poll: float = POLL) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(poll))
            tasks.create_task(self._follow(poll))

    async def pull(self) -> bool:
        """Takes over what Redis holds when it is newer than the folder's; whether it was.

        Raises Unreachable; Refused, counted; PublicationError, OSError. What will not become better is refused once.
        """
        envelope = await self._link.read("manifest", 0, MOST_ENVELOPE)
        if not envelope or envelope == self._refused:
            return False
        try:
            return await self._take(envelope)
        except Refused as refused:
            self._verifier.count(refused)
            self._refused = b"" if refused.reason in ("missing", "damaged") else envelope
            raise

    async def _follow(self, poll: float) -> None:
        while True:
            self._news.clear()
            try:
                await self.pull()
                self._teller.well()
            except Unreachable:
                pass  # counted; the folder's publication stays in force
            except (Refused, PublicationError, OSError) as problem:
                self._teller.tell(f"not taken from Redis: {problem}")
            await _wait(self._news, poll)

    async def _listen(self, poll: float) -> None:
        """Hears of news. Whenever that fails, `_follow` looks all the same."""
        while True:
            channel = self._link.client.pubsub(ignore_subscribe_messages=True)
            with suppress(Unreachable):  # counted
                try:
                    await self._link.call(channel.subscribe(self._link.key("news")))
                    while True:
                        if await self._link.hears(channel, poll):
                            self._news.set()
                finally:
                    await self._link.call(channel.aclose())  # type: ignore[no-untyped-call]  # redis gives it no type
            await asyncio.sleep(poll)

    async def _take(self, envelope: bytes) -> bool:
        manifest = await asyncio.to_thread(self._verifier.judge, envelope)
        if await asyncio.to_thread(self._is_current, envelope, manifest):
            return False
        for piece in manifest.pieces:
            if not await asyncio.to_thread(self._is_here, piece, manifest.pepper_id):
                await self._fetch(piece, manifest.pepper_id)
        await asyncio.to_thread(self._writer.commit, envelope)
        self._verified = frozenset(piece.name for piece in manifest.pieces)
        self.pulled += 1
        return True

    def _is_current(self, envelope: bytes, manifest: Manifest) -> bool:
        """Whether the folder holds this one. Raises Refused when it holds a newer, which none may have taken yet."""
        mine = self._folder.envelope()
        if mine == envelope:
            return all(self._folder.holds(piece) and piece.name in self._verified for piece in manifest.pieces)
        try:
            held = self._verifier.trust.open(mine or b"")
        except Refused:
            return False  # nothing, or damaged: anything signed is better
        if manifest.version <= held.version:
            raise Refused("rollback", f"version {manifest.version} came after {held.version}")
        return False

    def _is_here(self, piece: Blob | Table, pepper_id: str) -> bool:
        """Whether the folder holds the piece whole. Looked at once, then remembered."""
        if piece.name in self._verified and self._folder.holds(piece):
            return True
        try:
            _verify(self._folder.open(piece), piece, pepper_id)
        except Refused:
            return False
        return True

    async def _fetch(self, piece: Blob | Table, pepper_id: str) -> None:
        """A piece into the folder, chunk by chunk, verified before it gets its name."""
        draft = await asyncio.to_thread(self._writer.draft, piece)
        try:
            for at in range(0, piece.size, CHUNK):
                await asyncio.to_thread(draft.write, await self._chunk(piece, at))
            await asyncio.to_thread(_place, draft, piece, pepper_id)
        except Refused as refused:
            if refused.reason == "damaged":  # so that the uplink, which looks at sizes only, sends it again
                await self._link.call(self._link.client.delete(self._link.key(piece.name)))
            raise
        finally:
            await asyncio.to_thread(draft.close)

    async def _chunk(self, piece: Blob | Table, at: int) -> bytes:
        end = min(at + CHUNK, piece.size) - 1
        data = await self._link.read(piece.name, at, end)
        if len(data) != end - at + 1:
            raise Refused("missing", f"Redis has {piece.name} only up to {at + len(data)} bytes")
        return data


class _Teller:
    """Says what is wrong once, until it is well again or something else is wrong."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._told = ""

    def tell(self, problem: str) -> None:
        if problem != self._told:
            self._told = problem
            self._say(f"publication {problem}")

    def well(self) -> None:
        self._told = ""


def _heed_cancellation() -> None:
    """Raises CancelledError when this task was cancelled: the client (8.1) now and then answers or fails instead, seen
    on a busy machine, and the task would go on for ever."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _wait(event: asyncio.Event, most: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(most):
            await event.wait()


def _place(draft: Draft, piece: Blob | Table, pepper_id: str) -> None:
    _verify(os.open(draft.path, os.O_RDONLY | os.O_CLOEXEC), piece, pepper_id)
    draft.place()


def _verify(descriptor: int, piece: Blob | Table, pepper_id: str) -> None:
    """Raises Refused unless the file is what was signed. Closes the descriptor."""
    if isinstance(piece, Blob):
        read_blob(descriptor, piece)
    else:
        read_table(descriptor, piece, pepper_id).close()
