"""Reads pieces of a publication and holds them against what was signed, before anything looks inside.

A table is hashed page by page while it is copied into sealed memory, so what was verified is what is used. Reading,
hashing and copying let other threads run: 10 MB cost 30 ms here, and the loop beside it not one. Waits for the disk.
"""

import os
from collections.abc import Iterator
from typing import Final

from _native.keytable import HEADER_SIZE, PAGE_SIZE, KeyTable, KeyTableError, page_hash, root_of
from fastpath.publication.manifest import Blob, Table, blob_hash
from fastpath.publication.problem import Refused
from fastpath.publication.sealed import Sealed, seal


class HeldTable:
    """A verified table and the memory it lies in. `close` lets the descriptor go; the table stays usable."""

    def __init__(self, table: KeyTable, sealed: Sealed) -> None:
        self.table = table
        self.sealed = sealed

    def close(self) -> None:
        """As `Sealed.close`."""
        self.sealed.close()


def read_blob(descriptor: int, piece: Blob) -> bytes:
    """The sealed settings. Raises Refused unless they are the signed ones. Closes the descriptor."""
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(piece.size + 1)
    if blob_hash(data) != piece.hash:
        raise Refused("damaged", f"{piece.name} is not what was signed")
    return data


def read_table(descriptor: int, piece: Table, pepper_id: str) -> HeldTable:
    """A key table in sealed memory. Raises Refused unless it is the signed one. Closes the descriptor."""
    reading = _Reading(piece)
    try:
        sealed = seal(reading.chunks(descriptor), piece.name)
    finally:
        os.close(descriptor)
    try:
        return HeldTable(_open_table(reading, sealed, pepper_id), sealed)
    except BaseException:
        sealed.close()
        raise


def share_table(descriptor: int) -> HeldTable:
    """A table that another process of this node verified and handed over. Raises ValueError when it is not sealed."""
    sealed = Sealed(descriptor)
    return HeldTable(KeyTable.open(sealed.memory), sealed)


def _open_table(reading: "_Reading", sealed: Sealed, pepper_id: str) -> KeyTable:
    piece = reading.piece
    if root_of(reading.header, reading.hashes) != piece.root:
        raise Refused("damaged", f"{piece.name} is not what was signed")
    try:
        table = KeyTable.open(sealed.memory)
    except KeyTableError as error:
        raise Refused("damaged", f"{piece.name}: {error}") from None
    if table.root != piece.root:
        raise Refused("damaged", f"{piece.name} claims another root than its own")
    if table.pepper_id != pepper_id:
        raise Refused("pepper", f"{piece.name} was hashed under another pepper ({table.pepper_id})")
    return table


class _Reading:
    """Hashes what it hands on."""

    def __init__(self, piece: Table) -> None:
        self.piece: Final = piece
        self.header = b""
        self.hashes: list[bytes] = []

    def chunks(self, descriptor: int) -> Iterator[bytes]:
        """The header, then each page."""
        self.header = self._read(descriptor, HEADER_SIZE, 0)
        yield self.header
        for at in range(HEADER_SIZE, self.piece.size, PAGE_SIZE):
            page = self._read(descriptor, min(PAGE_SIZE, self.piece.size - at), at)
            self.hashes.append(page_hash(page))
            yield page

    def _read(self, descriptor: int, size: int, at: int) -> bytes:
        data = os.pread(descriptor, size, at)
        if len(data) != size:
            raise Refused("damaged", f"{self.piece.name} ended at {at + len(data)} bytes")
        return data
