"""The index of a segment that is full: where in it the record of an id begins, without reading the segment.

Owns the file beside the segment: a head, then 12 bytes per record sorted by key (8 bytes of the id, 4 of offset), a
CRC-32C at the end. A damaged or missing index is no loss: the segment is read instead. Concurrency: written once,
whole, under a name of its own; read by any process.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from _native.outbox import LARGEST, crc32c
from fastpath.explain.decision import KEY_SIZE
from fastpath.outbox.folder import replace_file

SUFFIX: Final = ".idx"
MAGIC: Final = b"fpdecidx"
LAYOUT: Final = 1
_HEAD: Final = struct.Struct("<8sII")
_CHECK: Final = struct.Struct("<I")
_OFFSET: Final = struct.Struct(">I")
ENTRY: Final = KEY_SIZE + _OFFSET.size
#: Bytes of an index of the largest segment full of the smallest records, and some more.
MOST: Final = LARGEST

Entry = tuple[bytes, int]


def index_path(segment: Path) -> Path:
    """Where the index of a segment is."""
    return segment.with_suffix(SUFFIX)


def write_index(segment: Path, entries: list[Entry]) -> None:
    """Writes the index of a segment, of (key, offset). Raises OSError."""
    rows = b"".join(sorted(key + _OFFSET.pack(offset) for key, offset in entries))
    data = _HEAD.pack(MAGIC, LAYOUT, len(entries)) + rows
    replace_file(index_path(segment), data + _CHECK.pack(crc32c(data)))


class Index:
    """A sound index, in memory: 170 KB for a segment of 4 MiB."""

    def __init__(self, data: bytes, count: int) -> None:
        self._data = data
        self._count = count

    def find(self, key: bytes) -> Iterator[int]:
        """Offsets of the records with this key: one as a rule."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._row(middle)[:KEY_SIZE] < key:
                low = middle + 1
            else:
                high = middle
        while low < self._count and (row := self._row(low))[:KEY_SIZE] == key:
            yield _OFFSET.unpack_from(row, KEY_SIZE)[0]
            low += 1

    def _row(self, number: int) -> bytes:
        begin = _HEAD.size + number * ENTRY
        return self._data[begin : begin + ENTRY]


def read_index(segment: Path) -> Index | None:
    """The index of a segment; None when there is none, or it is damaged. Raises OSError where the disk fails."""
    try:
        with index_path(segment).open("rb") as file:
            data = file.read(MOST)
    except FileNotFoundError:
        return None
    if len(data) < _HEAD.size + _CHECK.size:
        return None
    magic, layout, count = _HEAD.unpack_from(data)
    end = len(data) - _CHECK.size
    sound = magic == MAGIC and layout == LAYOUT and end == _HEAD.size + count * ENTRY
    if not sound or _CHECK.unpack_from(data, end)[0] != crc32c(memoryview(data)[:end]):
        return None
    return Index(data, count)
