"""The records in a segment, wherever damage lies between them. Owns the walk; the bytes are `fastpath.outbox`'s.

Nothing is believed of a file: what is no record is gone over. Concurrency: any process, while the owner writes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from _native.arena import process_start
from _native.outbox import ALIGN, FIRST, HEAD
from fastpath.explain.decision import KEY_SIZE
from fastpath.outbox.folder import Stream
from fastpath.outbox.segment_file import SegmentFile

#: Records per read: as many as lie in one copy of the file.
_MANY = 1 << 16


class Place(NamedTuple):
    """A record in a segment."""

    key: bytes
    offset: int
    payload: bytes


class SegmentId(NamedTuple):
    """Which segment."""

    stream: Stream
    sequence: int

    @property
    def name(self) -> str:
        """Of its file."""
        return self.stream.segment(self.sequence)


def walk(folder: Path, segment: SegmentId, offset: int = FIRST) -> Iterator[Place]:
    """The whole records from an offset on, as far as they are written. Raises OSError or OutboxError."""
    file = SegmentFile(folder, segment.stream, segment.sequence, offset)
    try:
        while True:
            found = file.read(_MANY)
            for _, payload, end in found:
                yield Place(payload[:KEY_SIZE], end - _room(payload), payload)
            if not found and (not file.is_damaged() or file.skip(None, is_final=False) is None):
                return
    finally:
        file.close()


def read_at(folder: Path, segment: SegmentId, offset: int) -> bytes | None:
    """The record at an offset; None when there is none. Raises OSError or OutboxError."""
    file = SegmentFile(folder, segment.stream, segment.sequence, offset)
    try:
        found = file.read(1)
    finally:
        file.close()
    return found[0][1] if found else None


def is_final(folder: Path, segment: SegmentId, boot: bytes) -> bool:
    """Whether nothing will be written to it any more. Raises OSError or OutboxError."""
    file = SegmentFile(folder, segment.stream, segment.sequence, FIRST)
    try:
        header = file.header
        if file.seal() is not None or (header is not None and header.boot != boot):
            return True
    finally:
        file.close()
    return process_start(segment.stream.pid) != segment.stream.start


def _room(payload: bytes) -> int:
    """Bytes that a record takes."""
    return -(-(len(payload) + HEAD) // ALIGN) * ALIGN
