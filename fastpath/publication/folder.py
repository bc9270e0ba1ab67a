"""The folder that publications lie in: pieces named by their content, and a manifest that names the pieces.

Owns the order in which files appear and go, so that a reader finds one whole publication whenever it looks, and after
any crash. One process writes, held by a lock that the kernel drops when it dies; anyone who may read reads, unasked.
Does not verify anything: readers do. Waits for the disk.
"""

import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from fastpath.publication.disk import (
    DRAFT,
    Draft,
    make_folder,
    open_private,
    read_private,
    write_whole,
)
from fastpath.publication.manifest import Blob, Manifest, Table, decode_manifest
from fastpath.publication.nudge import nudge
from fastpath.publication.problem import PublicationError, Refused
from fastpath.publication.trust import HEAD_SIZE, MOST_ENVELOPE
from fastpath.settings.private import sync_folder

_MANIFEST: Final = "manifest"
_PREVIOUS: Final = "manifest.previous"
_LOCK: Final = "writer.lock"
_PIECES: Final = ("settings-", "keys-")


class Folder:
    """Reads. `path`: made when missing, 0700. Raises PublicationError when others may use it."""

    def __init__(self, path: Path) -> None:
        make_folder(path)
        self.path = path

    def envelope(self) -> bytes | None:
        """The signed manifest, None before the first. Longer than any when it is none: `Trust.open` judges."""
        return read_private(self.path / _MANIFEST, MOST_ENVELOPE)

    def previous(self) -> bytes | None:
        """The one before. Its pieces are kept too, for readers that are still at it."""
        return read_private(self.path / _PREVIOUS, MOST_ENVELOPE)

    def holds(self, piece: Blob | Table) -> bool:
        """Whether there is a file of this name and size."""
        try:
            return os.lstat(self.path / piece.name).st_size == piece.size
        except FileNotFoundError:
            return False

    def open(self, piece: Blob | Table) -> int:
        """A descriptor to read a piece by. Raises Refused when it is not there, or is another size."""
        try:
            descriptor = open_private(self.path / piece.name)
        except FileNotFoundError:
            raise Refused("missing", f"{piece.name} is not there") from None
        size = os.fstat(descriptor).st_size
        if size != piece.size:
            os.close(descriptor)
            raise Refused("damaged", f"{piece.name} has {size} bytes instead of {piece.size}")
        return descriptor


class FolderWriter:
    """Writes, as the only one. A context manager; leaving it lets the next writer in."""

    def __init__(self, folder: Folder) -> None:
        """Raises PublicationError when another process writes here."""
        self.folder = folder
        self._path = folder.path
        self._lock = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise PublicationError(f"{self._path} is written by another process: stop that one first") from None
        self._remove(lambda name: name.endswith(DRAFT))

    def __enter__(self) -> "FolderWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets the next writer in."""
        os.close(self._lock)

    def put(self, piece: Blob | Table, chunks: Iterable[bytes]) -> None:
        """Writes a piece, in place of a damaged one if need be. Its name is durable after `commit`."""
        write_whole(self._path / piece.name, chunks)

    def draft(self, piece: Blob | Table) -> Draft:
        """A piece that arrives bit by bit, and is judged before it is placed."""
        return Draft(self._path / piece.name)

    def commit(self, envelope: bytes) -> None:
        """Makes a publication the current one, durably, and tells listeners. All its pieces must have been put.

        Removes what neither it nor the one before uses.
        """
        sync_folder(self._path)
        before = self.folder.envelope()
        if before is not None and before != envelope:
            write_whole(self._path / _PREVIOUS, (before,))
        write_whole(self._path / _MANIFEST, (envelope,))
        sync_folder(self._path)
        nudge(self._path)
        used = {piece.name for manifest in self._kept() for piece in manifest.pieces}
        self._remove(lambda name: name.startswith(_PIECES) and name not in used)

    def _kept(self) -> list[Manifest]:
        """Manifests whose pieces stay. They decide over files only, so their signatures do not matter."""
        kept = []
        for envelope in (self.folder.envelope(), self.folder.previous()):
            try:
                kept.append(decode_manifest((envelope or b"")[HEAD_SIZE:]))
            except Refused:
                continue  # a damaged one has no pieces that anyone could use
        return kept

    def _remove(self, unused: Callable[[str], bool]) -> None:
        for name in os.listdir(self._path):
            if unused(name):
                (self._path / name).unlink(missing_ok=True)
