"""A segment in the making: all of its bytes exist on the disk before a worker's first store into it.

A store into a mapped page that the disk has no room for kills the process (SIGBUS), so room is asked for first, zeros
are written over all of it, and both are synced. Owns the unfinished file. Concurrency: one thread per draft.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from _native.outbox import Segment, write_zeros
from fastpath.outbox.folder import DRAFT, Stream
from fastpath.outbox.header import Header
from fastpath.settings.private import sync_folder

#: Bytes written and synced in one step: a few milliseconds of a slow disk, so that syncs of records come between.
SLICE: Final = 1 << 20


class Draft:
    """Becomes a segment by `step`. Every method raises OSError when the disk refuses; then `discard` it."""

    def __init__(self, folder: Path, stream: Stream, header: Header) -> None:
        self._folder = folder
        self._name = stream.segment(header.sequence)
        self._header = header
        self._written = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        try:
            # Says that its owner lives to those who see other process numbers than it has.
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.posix_fallocate(self._fd, 0, header.size)
        except OSError:
            self.discard()
            raise

    @property
    def _path(self) -> Path:
        return self._folder / (self._name + DRAFT)

    def step(self) -> Segment | None:
        """Writes one slice; gives the segment when that was the last."""
        if self._written < self._header.size:
            end = min(self._written + SLICE, self._header.size)
            self._written = write_zeros(self._fd, self._written, end)
            os.fdatasync(self._fd)
            return None
        return self._finish()

    def discard(self) -> None:
        """Gives the file up. Where it cannot be removed, the reader does so once its writer is dead."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _finish(self) -> Segment:
        header = self._header
        os.pwrite(self._fd, header.pack(), 0)
        os.fsync(self._fd)
        segment = Segment(self._fd, header.size, header.token, header.sequence)
        self._fd = -1
        try:
            self._path.rename(self._folder / self._name)
            sync_folder(self._folder)
        except OSError:
            segment.close()
            raise
        return segment
