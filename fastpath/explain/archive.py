"""One worker's records of decisions: where they are put, synced, kept within their terms, and looked up.

Records lie in segments of the outbox's kind, in a folder of their own: a put is a memory copy that survives a kill of
this process, and never waits; with the power, the last second may go. Owns the worker's thread for that folder and the
change to a new segment each day, without which a quiet worker's old records could never go. Concurrency: `put` and
`look_up` belong to the loop, `step` to the thread; a second thread searches.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from fastpath.explain.decision import Decision
from fastpath.explain.retention import DAY, Retention, Terms
from fastpath.explain.shelf import Shelf
from fastpath.outbox.folder import open_folder
from fastpath.outbox.keeper import Options
from fastpath.outbox.writer import OutboxWriter
from fastpath.settings.decisions import Decisions
from scheduler.clock import Clock

_log = logging.getLogger("fastpath.decisions")

FOLDER: Final = "decisions"
STEP_EVERY: Final = 1.0  # seconds: what a loss of power may cost
#: Searches that may wait; more are refused.
MOST_WAITING: Final = 32
#: Bytes for which there must be room, or the archive is not `roomy`: a record with scores of a hundred endpoints.
LONGEST: Final = 16 << 10
_LARGEST: Final = 4 << 20
_SMALLEST: Final = 128 << 10
_PAGE: Final = 4096

Then = Callable[[Decision | None], None]


class BusyError(Exception):
    """Too many searches wait."""


class Archive:
    """Records in a folder. Opening blocks until the first segments are written. Raises OutboxError.

    workers: how many processes write to the folder. thread=False: the owner calls `step`.
    """

    def __init__(self, folder: Path, settings: Decisions, clock: Clock, workers: int = 1, *, thread: bool = True):
        self._folder = open_folder(folder)
        self._clock = clock
        size = segment_size(settings.most_bytes, workers)
        self._options = Options(size, settings.most_bytes, STEP_EVERY, hold=LONGEST)
        self._terms = terms_of(settings)
        self._retention = Retention(folder)
        self._shelf = Shelf(folder)
        self._day = clock.now() // DAY
        self._writer = OutboxWriter(folder, clock, self._options, thread=False)
        self._retired: OutboxWriter | None = None
        self._kept = self._refused = 0  # of writers before this one
        self.lost = 0  # records that could not even be made
        self._waiting = 0
        self._search: ThreadPoolExecutor | None = None
        self._closing = threading.Event()
        # A daemon: what was put is the kernel's already, so a program that ends without `close` loses nothing.
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True) if thread else None
        if self._thread is not None:
            self._thread.start()

    def put(self, record: bytes) -> bool:
        """Keeps a record, or counts it as dropped. Never waits."""
        return self._writer.put(record)

    @property
    def roomy(self) -> bool:
        """Whether a record would be kept."""
        return self._writer.healthy

    @property
    def kept(self) -> int:
        """Records that were kept."""
        return self._kept + self._writer.appended

    @property
    def dropped(self) -> int:
        """Records that found no room."""
        return self._refused + self._writer.refused + self.lost

    @property
    def evicted(self) -> int:
        """Segments that this process removed before their time, for want of room."""
        return self._retention.evicted

    def use(self, settings: Decisions) -> None:
        """Goes on under other terms. The room of the segments themselves changes with a restart."""
        self._terms = terms_of(settings)

    # -- reading

    def look_up(self, request: bytes, then: Then) -> None:
        """Gives `then` the record of a request, or None, on the running loop. Raises BusyError."""
        if self._waiting >= MOST_WAITING:
            raise BusyError
        if self._search is None:
            self._search = ThreadPoolExecutor(1, "decisions-search")
        self._waiting += 1
        oldest = self._clock.now() - self._terms.keep
        found = asyncio.get_running_loop().run_in_executor(self._search, self._shelf.find, request, oldest)
        found.add_done_callback(lambda future: self._tell(future, then))

    def _tell(self, future: "asyncio.Future[Decision | None]", then: Then) -> None:
        self._waiting -= 1
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            _log.error("a record of a decision could not be looked for", exc_info=error)
        then(None if error is not None else future.result())

    # -- upkeep

    def step(self) -> None:
        """What the thread does every second: sync, make the next segment, begin a new day, remove what must go."""
        if self._retired is not None:
            self._leave(self._retired)
        day = self._clock.now() // DAY
        if day != self._day:
            self._day = day
            self._renew()
        self._writer.step()
        try:
            self._retention.keep(self._terms, self._clock.now())
        except OSError as error:
            _log.warning("old records of decisions cannot be removed: %s", error)

    def close(self, timeout: float = 5.0) -> None:
        """Syncs what was put and lets go. Blocks."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout)
        else:
            self._finish()
        if self._search is not None:
            self._search.shutdown(wait=False, cancel_futures=True)

    def _renew(self) -> None:
        """Goes on in a stream of segments of its own; the loop may be in the middle of a put into the one before."""
        if self._writer.appended == 0:
            return
        fresh = OutboxWriter(self._folder, self._clock, self._options, thread=False)
        self._retired, self._writer = self._writer, fresh

    def _leave(self, writer: OutboxWriter) -> None:
        self._retired = None
        writer.close()
        self._kept += writer.appended
        self._refused += writer.refused

    def _run(self) -> None:
        try:
            while not self._closing.wait(STEP_EVERY):
                self.step()
        finally:
            self._finish()

    def _finish(self) -> None:
        if self._retired is not None:
            self._leave(self._retired)
        self._writer.close()


def segment_size(most_bytes: int, workers: int) -> int:
    """Bytes of a segment: small enough that what all workers write to is a quarter of the room."""
    size = max(_SMALLEST, min(_LARGEST, most_bytes // (8 * workers)))
    return size // _PAGE * _PAGE


def terms_of(settings: Decisions) -> Terms:
    """The terms that settings say."""
    return Terms(settings.keep_days * DAY, settings.most_bytes)
