"""How far the reader's records were settled, kept in the folder. Owns the cursor's file. Concurrency: the one reader.

A lost or damaged cursor costs nothing but records delivered once more.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from _native.outbox import ALIGN, FIRST, crc32c
from fastpath.outbox.folder import replace_file

NAME: Final = "cursor"
LAYOUT: Final = 1


class Position(NamedTuple):
    """A place in a stream, between two records."""

    sequence: int = 0  # of the segment; 0: before the first
    offset: int = FIRST


Cursor = Mapping[str, Position]  # by the stream's name


class _Stored(msgspec.Struct, frozen=True):
    layout: int
    streams: dict[str, Position]


def load_cursor(folder: Path) -> tuple[dict[str, Position], str]:
    """The stored positions, and what was wrong with them ("" as a rule; no file is no fault)."""
    try:
        data = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return {}, ""
    check, _, body = data.partition(b" ")
    if check != b"%08x" % crc32c(body):
        return {}, "its checksum is wrong"
    try:
        stored = msgspec.json.decode(body, type=_Stored)
    except msgspec.DecodeError as error:
        return {}, str(error)
    if stored.layout != LAYOUT:
        return {}, f"it has layout {stored.layout}"
    return {name: position for name, position in stored.streams.items() if _is_sane(position)}, ""


def store_cursor(folder: Path, cursor: Cursor) -> None:
    """Replaces the stored positions; after any crash they are the old or the new ones. Raises OSError."""
    body = msgspec.json.encode(_Stored(LAYOUT, dict(cursor)))
    replace_file(folder / NAME, b"%08x %b" % (crc32c(body), body))


def _is_sane(position: Position) -> bool:
    return position.sequence >= 0 and position.offset >= FIRST and position.offset % ALIGN == 0
