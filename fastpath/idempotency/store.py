"""The idempotency keys and answers of a node, as one worker uses them.

Owns opening them (when the first request with a key comes, off the loop), the worker's one thread for the disk, and
the times at which old files go. Does not own what callers are told (`stage`). All calls are from the loop; `read` and
`keep` work in the thread and go on on the loop.

Where it cannot be opened (no disk, a folder that others may enter) `take` says Full: requests run unprotected, and
their callers are told.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastpath.arena import boot_name
from fastpath.idempotency.moment import SECOND, Moment, take_moment
from fastpath.idempotency.slot import Mark, Place, Reason, Slot, State
from fastpath.idempotency.table import Table, table_name
from fastpath.idempotency.verdict import Full, Taken, Verdict
from fastpath.settings import Idempotency
from fastpath.settings.pepper import PepperError, read_pepper
from fastpath.settings.private import PrivateFileError, make_private_folder
from scheduler.clock import Clock

if TYPE_CHECKING:  # loaded with the first key: they bring cryptography
    from fastpath.idempotency.answers import Answer, Answers, Bounds

FOLDER: Final = "idempotency"
#: What can become of a request with a key, as the metric has it.
RESULTS: Final = ("kept", "not_kept", "forgotten", "replayed", "in_progress", "conflict", "lost", "unprotected")
RETRY_AFTER: Final = 10.0  # seconds between two tries to open
TIDY_EVERY: Final = 600.0

_log = logging.getLogger("fastpath.idempotency")


class Parts:
    """An open store: what `open_parts` makes in the thread."""

    def __init__(self, table: Table, answers: "Answers", marks: bytes, boot: bytes) -> None:
        self.table = table
        self.answers = answers
        self.marks = marks
        self.boot = boot


class Store:
    """Of one worker. `state` is the state folder; `count` is told what became of a key, for the metrics."""

    def __init__(
        self, state: Path, loop: asyncio.AbstractEventLoop, clock: Clock, count: Callable[[str], None]
    ) -> None:
        self._state = state
        self._loop = loop
        self._clock = clock
        self.count = count
        self._parts: Parts | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._opening: asyncio.Future[Parts] | None = None
        self._try_at = clock.monotonic()
        self._tidy_at = clock.monotonic() + TIDY_EVERY
        self._work: set[asyncio.Task[None]] = set()

    # -- opening

    @property
    def ready(self) -> bool:
        """Whether `take` can say something: it is open, or could not be opened a moment ago."""
        return self._parts is not None or (self._opening is None and self._clock.monotonic() < self._try_at)

    def open(self, settings: Idempotency, then: Callable[[], None]) -> None:
        """Opens it off the loop; `then` is called when that is done, well or not."""
        if self._opening is None:
            self._opening = self._loop.run_in_executor(self._worker(), open_parts, self._state, settings.keys)
            self._opening.add_done_callback(self._on_open)
        self._opening.add_done_callback(lambda _: then())

    def _on_open(self, opening: "asyncio.Future[Parts]") -> None:
        self._opening = None
        if opening.cancelled():
            return
        error = opening.exception()
        if error is None:
            self._parts = opening.result()
            return
        self._try_at = self._clock.monotonic() + RETRY_AFTER
        if not isinstance(error, (OSError, PepperError, PrivateFileError)):
            self._loop.call_exception_handler({"message": "idempotency keys cannot be opened", "exception": error})
        _log.error("idempotency keys cannot be remembered, their requests run unprotected: %s", error)

    def _worker(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "idempotency")
        return self._thread

    # -- keys

    @property
    def secret(self) -> bytes | None:
        """Keys the digests of requests. None: it is not open, and nothing is remembered."""
        return self._parts.marks if self._parts is not None else None

    def take(self, mark: Mark, request: bytes, settings: Idempotency, reason: Reason) -> Verdict:
        """As `Table.take`. Whoever gets Taken calls `lose`, `forget` or `keep` once."""
        if self._parts is None:
            return Full()
        now = self._now(self._parts)
        self._tidy(self._parts, now, settings)
        return self._parts.table.take(mark, request, now, int(settings.ttl * SECOND), reason)

    def charge(self, taken: Taken, reason: Reason) -> None:
        """Something of an answer reaches its caller: from here on the request must not run again."""
        if self._parts is not None:
            self._parts.table.note(taken.index, _with(taken.slot, State.CHARGED, reason))

    def lose(self, taken: Taken, reason: Reason) -> None:
        """A charged request is over, and its answer is not kept."""
        if self._parts is not None:
            self._parts.table.note(taken.index, _with(taken.slot, State.LOST, reason))

    def forget(self, taken: Taken) -> None:
        """A request is over and was not charged: the next one under its key runs."""
        if self._parts is not None:
            self._parts.table.forget(taken.index)

    # -- answers

    def keep(self, taken: Taken, answer: "Answer", settings: Idempotency, then: Callable[[bool], None]) -> None:
        """Keeps the answer of a charged request; `then` is told whether it could be."""
        assert self._parts is not None
        self._begin(self._keep(self._parts, taken, answer, settings, then))

    async def _keep(
        self, parts: Parts, taken: Taken, answer: "Answer", settings: Idempotency, then: Callable[[bool], None]
    ) -> None:
        state, reason, place = State.LOST, Reason.NO_ROOM, taken.slot.place
        try:
            arguments = (taken.slot.mark, answer, self._now(parts), _bounds(settings))
            place = await self._loop.run_in_executor(self._worker(), parts.answers.write, *arguments)
            state, reason = State.KEPT, Reason.NONE
        except OSError as error:
            _log.warning("an answer is not kept for its idempotency key: %s", error.strerror)
        finally:
            parts.table.note(taken.index, _with(taken.slot, state, reason, place))
            then(state is State.KEPT)

    def read(self, slot: Slot, then: "Callable[[Answer | None], None]") -> None:
        """Gives `then` the answer of a kept request, None when it is gone or damaged."""
        assert self._parts is not None
        self._begin(self._read(self._parts, slot, then))

    async def _read(self, parts: Parts, slot: Slot, then: "Callable[[Answer | None], None]") -> None:
        then(await self._loop.run_in_executor(self._worker(), parts.answers.read, slot.mark, slot.place))

    # -- upkeep and end

    def _tidy(self, parts: Parts, now: Moment, settings: Idempotency) -> None:
        if self._clock.monotonic() < self._tidy_at:
            return
        self._tidy_at = self._clock.monotonic() + TIDY_EVERY
        self._begin(self._tidy_files(parts, now, _bounds(settings)))

    async def _tidy_files(self, parts: Parts, now: Moment, bounds: "Bounds") -> None:
        try:
            await self._loop.run_in_executor(self._worker(), parts.answers.tidy, now, bounds)
        except OSError as error:
            _log.warning("old answers of idempotency keys cannot be removed: %s", error)

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        work = self._loop.create_task(coroutine)
        self._work.add(work)
        work.add_done_callback(self._on_done)

    def _on_done(self, work: "asyncio.Task[None]") -> None:
        self._work.discard(work)
        if not work.cancelled() and (bug := work.exception()) is not None:
            self._loop.call_exception_handler({"message": "an idempotency key was not handled", "exception": bug})

    async def close(self) -> None:
        """Writes what is still to be kept, then lets go of everything."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
        while self._work:
            await asyncio.wait(self._work)
        if self._parts is not None:
            self._parts.table.close()
            self._parts.answers.close()
            self._parts = None
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _now(self, parts: Parts) -> Moment:
        return take_moment(self._clock, parts.boot)


def open_parts(state: Path, keys: int) -> Parts:
    """Opens the keys and answers in a state folder. Raises OSError, PepperError or PrivateFileError."""
    from fastpath.idempotency.answers import Answers

    pepper = read_pepper(state)
    if pepper is None:
        raise OSError(f"{state} holds no pepper")
    secret = blake2b(b"idempotency", key=pepper, digest_size=32).digest()
    folder = state / FOLDER
    make_private_folder(folder)
    with _only_opener(folder):
        name = table_name(keys)
        table = Table.open(folder / name, keys, _derive(secret, b"slots"))
        for path in folder.glob("keys-*[0-9]"):
            if path.name != name:
                Table.remove_unused(path)
    return Parts(table, Answers(folder, _derive(secret, b"answers")), _derive(secret, b"marks"), boot_name())


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return blake2b(purpose, key=secret, digest_size=32).digest()


@contextmanager
def _only_opener(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _bounds(settings: Idempotency) -> "Bounds":
    from fastpath.idempotency.answers import Bounds

    return Bounds(settings.disk, int(settings.ttl * SECOND))


def _with(slot: Slot, state: State, reason: Reason, place: Place | None = None) -> Slot:
    return Slot(state, slot.mark, slot.request, slot.born, reason, place or slot.place, slot.seat)
