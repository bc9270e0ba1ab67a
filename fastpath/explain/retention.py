"""Which records go, and when: those that are too old, and the oldest where there are too many.

Also gives full segments their index, and clears away what dead writers left unfinished. Owns what is removed. One
process of a node does this at a time, whoever holds the lock; it removes whole segments, and none that is written to.
May wait for the disk.
"""

import fcntl
import logging
import os
from pathlib import Path
from typing import Final

import msgspec

from _native.arena import process_start
from fastpath.arena import boot_name
from fastpath.explain.decision import DecisionError, decode
from fastpath.explain.index import SUFFIX, index_path, read_index, write_index
from fastpath.explain.segments import SegmentId, is_final, walk
from fastpath.outbox.folder import OutboxError, list_drafts, list_segments

_log = logging.getLogger("fastpath.decisions")

LOCK: Final = "retention.lock"
DAY: Final = 86_400.0
#: Part of the room that is kept free for what is being written, in eighths.
_FREE: Final = 1


class Terms(msgspec.Struct, frozen=True):
    """How long, and how much."""

    keep: float  # seconds
    most_bytes: int

    @property
    def goal(self) -> int:
        """Bytes that segments and indexes may have, so that a writer always finds room for the next."""
        return self.most_bytes * (8 - _FREE) // 8


class Retention:
    """Keeps a folder within its terms."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._boot = boot_name()
        self._newest: dict[SegmentId, float] = {}  # of final segments: Unix seconds of their last record
        #: Segments that were removed before their time, for want of room.
        self.evicted = 0

    def keep(self, terms: Terms, now: float) -> None:
        """Removes what must go. now: Unix seconds. Does nothing while another process does. Raises OSError."""
        lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._keep(terms, now)
        except BlockingIOError:
            return
        finally:
            os.close(lock)

    def _keep(self, terms: Terms, now: float) -> None:
        listed = list_segments(self._folder)
        segments = [SegmentId(stream, number) for stream, numbers in listed.items() for number in numbers]
        self._newest = {segment: self._newest[segment] for segment in segments if segment in self._newest}
        for segment in segments:
            self._note(segment)
        for segment, newest in list(self._newest.items()):
            if newest < now - terms.keep:
                self._remove(segment)
        self._make_room(terms.goal)
        self._clear({segment.name for segment in segments})

    def _note(self, segment: SegmentId) -> None:
        """Takes up a segment that has become final: it gets an index, or goes where nothing is in it."""
        if segment in self._newest:
            return
        try:
            if not is_final(self._folder, segment, self._boot):
                return
            path = self._folder / segment.name
            entries, last = [], b""
            for place in walk(self._folder, segment):
                entries.append((place.key, place.offset))
                last = place.payload
            if not entries:
                path.unlink(missing_ok=True)
                return
            if read_index(path) is None:
                write_index(path, entries)
            self._newest[segment] = _time_of(last, path)
        except (OSError, OutboxError) as error:
            _log.warning("a segment of decisions is left as it is: %s", error)

    def _make_room(self, goal: int) -> None:
        total = _bytes_in(self._folder)
        for segment in sorted(self._newest, key=lambda segment: self._newest[segment]):
            if total <= goal:
                return
            total -= self._remove(segment)
            self.evicted += 1

    def _remove(self, segment: SegmentId) -> int:
        """Bytes that are free now."""
        path, freed = self._folder / segment.name, 0
        for file in (path, index_path(path)):
            try:
                freed += file.stat().st_size
                file.unlink()
            except FileNotFoundError:
                continue
        self._newest.pop(segment, None)
        return freed

    def _clear(self, segments: set[str]) -> None:
        """What dead writers had begun, and indexes whose segment is gone."""
        for stream, name in list_drafts(self._folder):
            if process_start(stream.pid) != stream.start:
                (self._folder / name).unlink(missing_ok=True)
        for path in self._folder.glob(f"*{SUFFIX}*"):
            if path.name.partition(SUFFIX)[0] + ".seg" not in segments:
                path.unlink(missing_ok=True)


def _time_of(payload: bytes, path: Path) -> float:
    """When a record's request came; of one that is none of ours, when its file was last written."""
    try:
        return decode(payload).ts
    except DecisionError:
        return path.stat().st_mtime


def _bytes_in(folder: Path) -> int:
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                total += entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue
    return total
