"""What the sync thread of a writer does, one step at a time: sync what was appended, keep the next segment ready.

Owns: the draft of the next segment, what is done when a sync or the disk fails, the size cap. Does not own: the thread
(`writer`), appending (`_native.outbox.Appender`). Concurrency: one thread steps; its numbers may be read from any.
"""

import logging
from pathlib import Path

import msgspec

from _native.outbox import LARGEST, Appender, Segment
from fastpath.arena import boot_name
from fastpath.outbox.draft import Draft
from fastpath.outbox.folder import Stream, count_bytes
from fastpath.outbox.header import Header
from scheduler.clock import Clock

_log = logging.getLogger("fastpath.outbox")


class Options(msgspec.Struct, frozen=True):
    """Sizes and times of an outbox."""

    segment_bytes: int = 8 << 20  # a multiple of 4096; a writer has two of them
    cap_bytes: int = 1 << 30  # of all segments in the folder, whosever, that were not acknowledged
    sync_every: float = 0.02  # seconds: what a loss of power may cost
    retry_every: float = 0.25  # seconds between attempts to get a new segment
    hold: int = 512  # bytes held for the End of each request that was let in

    def __post_init__(self) -> None:
        if not 8192 <= self.segment_bytes <= LARGEST or self.segment_bytes % 4096:
            raise ValueError(f"segment_bytes: {self.segment_bytes} is no multiple of 4096 from 8192 to {LARGEST}")


class Keeper:
    """Syncs and prepares for one Appender. `step` never raises OSError: what the disk refuses shows in `problem`."""

    def __init__(self, folder: Path, stream: Stream, appender: Appender, options: Options, clock: Clock) -> None:
        self._folder = folder
        self._stream = stream
        self._appender = appender
        self._options = options
        self._clock = clock
        self._boot = boot_name()
        self._sequence = 0
        self._draft: Draft | None = None
        self._spare: Segment | None = None
        self._try_at = clock.monotonic()
        self._unsafe = ""
        self._unready = ""
        self.synced = 0
        self.syncs = 0
        self.bad_segments = 0
        self.backlog_bytes = 0

    @property
    def problem(self) -> str:
        """Why records may be refused or lost; "" when all is well."""
        return self._unsafe or self._unready

    @property
    def unsafe(self) -> bool:
        """A sync failed, and no segment on a disk that works was had since."""
        return bool(self._unsafe)

    def step(self) -> bool:
        """One sync, if anything was appended, and one slice of the next segment. True: there is more to do at once."""
        self.sync()
        return self._prepare()

    def sync(self) -> None:
        for segment in (self._appender.retired, self._appender.active):
            if segment is not None and not segment.bad and segment.durable < segment.tail:
                self._sync_one(segment)
        while (segment := self._appender.take_retired()) is not None:
            segment.close()

    def finish(self) -> None:
        """Ends the stream: the last segment is sealed, what was appended is synced, what was not used is removed."""
        if self._draft is not None:
            self._draft.discard()
        if self._spare is not None:
            self._remove(self._spare)
        if self._appender.active is not None:
            self._appender.active.seal(last=True)
        self.sync()
        unused = self._appender.ready
        for segment in self._appender.detach():
            if segment is unused:
                self._remove(segment)
            segment.close()

    def _sync_one(self, segment: Segment) -> None:
        before = segment.durable_count
        try:
            segment.sync()
        except OSError as error:
            # A second sync may succeed although the pages never reached the disk: what it covers is written anew.
            self.bad_segments += 1
            self._unsafe = f"records could not be synced: {error.strerror}"
            _log.error("segment %d of the outbox is bad: %s", segment.sequence, self._unsafe)
            self._appender.mend()
            return
        self.syncs += 1
        self.synced += segment.durable_count - before

    def _prepare(self) -> bool:
        if self._appender.ready is not None:
            return False
        if self._spare is None and (self._draft is not None or self._begin()):
            self._go_on()
        if self._spare is not None and (self._appender.retired is None or self._appender.retired.bad):
            self._offer(self._spare)
        return self._draft is not None or self._spare is not None or self._may_begin()

    def _may_begin(self) -> bool:
        return self._appender.ready is None and self._clock.monotonic() >= self._try_at

    def _begin(self) -> bool:
        """Whether a draft of the next segment was begun."""
        if not self._may_begin():
            return False
        try:
            self.backlog_bytes = count_bytes(self._folder)
            size = self._options.segment_bytes
            if self.backlog_bytes + size > self._options.cap_bytes:
                self._put_off(f"{self.backlog_bytes} bytes wait to be settled, {self._options.cap_bytes} may")
                return False
            self._sequence += 1  # of one that fails, too: its file may not go away
            self._draft = Draft(self._folder, self._stream, self._header(self._sequence, size))
        except OSError as error:
            self._put_off(f"no room for records: {error.strerror}")
            return False
        return True

    def _header(self, sequence: int, size: int) -> Header:
        stream, created_ns = self._stream, int(self._clock.now() * 1e9)
        return Header(sequence, size, stream.token, stream.pid, stream.start, self._boot, created_ns)

    def _go_on(self) -> None:
        assert self._draft is not None
        try:
            self._spare = self._draft.step()
        except OSError as error:
            self._draft.discard()
            self._draft = None
            self._put_off(f"no room for records: {error.strerror}")
            return
        if self._spare is not None:
            self._draft = None

    def _offer(self, segment: Segment) -> None:
        self._spare = None
        self._appender.offer(segment)
        if self.problem:
            _log.warning("the outbox has room again")
        self._unsafe = self._unready = ""

    def _put_off(self, why: str) -> None:
        self._try_at = self._clock.monotonic() + self._options.retry_every
        if not self._unready:
            _log.error("the outbox gets no new segment: %s", why)
        self._unready = why

    def _remove(self, segment: Segment) -> None:
        segment.close()
        try:
            (self._folder / self._stream.segment(segment.sequence)).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("an unused segment of the outbox is left to its reader: %s", error)
