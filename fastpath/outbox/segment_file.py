"""One segment as its reader sees it: a file of which nothing is believed.

Owns: its descriptor, the place in it, finding the next whole record behind damage. Does not own: what comes after the
segment (`stream`). It reads copies with pread, never a map: a file that shrinks or a bad sector is then an error, not a
signal. Concurrency: one thread; the file may be written meanwhile by its worker.
"""

import errno
import os
import stat
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from _native.outbox import ALIGN, FIRST, HEAD, LARGEST, MOST, SEAL, find, parse, unseal
from fastpath.outbox.folder import OutboxError, Stream
from fastpath.outbox.header import Header, unpack_header

#: Bytes per read: the longest record fits, so what is cut off is cut off by the end of the segment.
CHUNK: Final = 2 * (MOST + HEAD)
_PAGE: Final = 4096
_DAMAGED: Final = -2
_NUMBERS: Final = 1 << 24
Found = tuple[int, bytes, int]


class Damage(msgspec.Struct, frozen=True):
    """Bytes between two records, or behind the last, that are no record."""

    segment: str  # the file's name
    offset: int
    data: bytes
    missing: int  # bytes that the file should have had behind them
    lost: int  # records, at least; 0: an append that never ended, or nobody can tell
    torn: bool  # nothing whole follows


class SegmentFile:
    """An open segment. Raises OutboxError when it is no file that a writer of ours could have made."""

    def __init__(self, folder: Path, stream: Stream, sequence: int, offset: int) -> None:
        self.name = stream.segment(sequence)
        self.offset = offset
        self.sequence = sequence
        self._token = stream.token
        self._number = 0 if offset == FIRST else -1  # of the record before `offset`; -1: not known
        self._fd = os.open(folder / self.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_size > LARGEST:
            self.close()
            raise OutboxError(f"{folder / self.name} is not a segment of this user: remove it")
        #: None when it is damaged: the name says whose the segment is.
        self.header: Header | None = unpack_header(self._read(0, FIRST))

    @property
    def descriptor(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def read(self, most: int) -> list[Found]:
        """The next whole records: number, payload, offset behind. Empty: none, none yet, or damage."""
        found, _ = self._parse(most)
        if found:
            self.offset = found[-1][2]
            self._number = found[-1][0]
        return found

    def seal(self) -> tuple[int, bool] | None:
        """Where the records end and whether the stream does; None while more may come, or the seal is damaged."""
        return unseal(int.from_bytes(self._read(SEAL, 8), "little"), self._token, self.sequence)

    def has_begun(self) -> bool:
        """Whether its first record, or what became of it, is there."""
        return any(self._read(FIRST, 4))

    def is_damaged(self) -> bool:
        """Whether what lies at the offset can be no record, however long one waits.

        Asked after `read` gave nothing: a copy made while a record was written may show its length before the rest of
        it, a second one cannot.
        """
        return self._parse(1)[1] == _DAMAGED

    def has_more(self) -> bool:
        """Whether a whole record follows."""
        return bool(self._parse(1)[0])

    def skip(self, end: int | None, is_final: bool) -> Damage | None:
        """Goes over damage to the next whole record, or to the end when nothing more will be written.

        `end`: where a seal says that records end. None: nothing was skipped, or it was only room never used.
        """
        stop = self._size() if end is None else min(end, self._size())
        begin, rest = self.offset, self._read(self.offset, stop - self.offset)
        where = find(memoryview(rest)[ALIGN:], begin + ALIGN, self._token, self.sequence)
        if where >= 0:
            self.offset = where
            return Damage(self.name, begin, rest[: where - begin], 0, self._count_lost(), torn=False)
        return self._tear(begin, end, rest.rstrip(b"\0")) if is_final else None

    def _tear(self, begin: int, end: int | None, data: bytes) -> Damage | None:
        """Ends the segment at the last whole record."""
        full = end or (self.header.size if self.header is not None else 0)
        self.offset = -(-max(begin, full, self._size()) // ALIGN) * ALIGN
        missing = max(0, full - max(self._size(), begin))
        if not data and not missing and end is None:
            return None
        lost = 1 if end is not None or any(data[:4]) else 0
        return Damage(self.name, begin, data, missing, lost, torn=True)

    def _count_lost(self) -> int:
        """Records between the last one read and the one that was found."""
        found, _ = self._parse(1)
        return max(1, (found[0][0] - self._number - 1) % _NUMBERS) if found and self._number >= 0 else 1

    def _parse(self, most: int) -> tuple[list[Found], int]:
        seal = self.seal()
        data = self._read(self.offset, CHUNK if seal is None else max(0, min(CHUNK, seal[0] - self.offset)))
        return parse(data, self.offset, self._token, self.sequence, most)

    def _size(self) -> int:
        """Bytes of the file, as far as the header lets it be."""
        size = os.fstat(self._fd).st_size
        return min(size, self.header.size) if self.header is not None else min(size, LARGEST)

    def _read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes. What the disk cannot read is zeros, a page at a time: damage like any other."""
        try:
            return self._read_whole(offset, size)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        end = min(offset + size, self._size())
        edges = [offset, *range(offset - offset % _PAGE + _PAGE, end, _PAGE), end]
        return b"".join(self._read_page(at, stop - at) for at, stop in pairwise(edges))

    def _read_page(self, offset: int, size: int) -> bytes:
        try:
            return self._read_whole(offset, size)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return bytes(size)

    def _read_whole(self, offset: int, size: int) -> bytes:
        parts = []
        while size > 0 and (part := os.pread(self._fd, size, offset)):
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
