"""The last publication that a node took, on disk, so that a restart cannot be rolled back to one before it.

Owns `<folder>/accepted`: the version and the hash of the manifest. Several processes of a node may advance it; a lock
keeps it from going back. Waits for the disk.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final

from fastpath.publication.disk import read_private, write_whole
from fastpath.publication.problem import PublicationError, Refused
from fastpath.publication.trust import HEAD_SIZE
from fastpath.settings.private import sync_folder

_NAME: Final = "accepted"
_LOCK: Final = "accepted.lock"
_MOST: Final = 128


def mark_of(envelope: bytes) -> str:
    """Names a manifest, whoever signed it."""
    return blake2b(envelope[HEAD_SIZE:], digest_size=32).hexdigest()


class Accepted:
    """The file in `folder`, which must exist."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._lock = folder / _LOCK

    def last(self) -> tuple[int, str]:
        """Version and mark; 0 and "" before the first. Raises PublicationError when the file is damaged."""
        data = read_private(self._path, _MOST)
        if data is None:
            return 0, ""
        words = data.decode("ascii", "replace").split()
        if len(words) != 2 or not words[0].isdecimal() or len(words[1]) != 64:
            raise PublicationError(
                f"{self._path} is damaged: remove it, and this node takes the next signed publication, however old"
            )
        return int(words[0]), words[1]

    def check(self, version: int, mark: str) -> None:
        """Raises Refused for a version before the last one, and for another manifest of the same version."""
        last, known = self.last()
        if version < last or (version == last and mark != known):
            raise Refused("rollback", f"version {version} ({mark[:8]}) came after {last} ({known[:8]}) was taken")

    def advance(self, version: int, mark: str) -> None:
        """Makes this the last one, durably. Raises Refused as `check`."""
        with self._locked():
            self.check(version, mark)
            if (version, mark) != self.last():
                write_whole(self._path, (f"{version} {mark}\n".encode(),))
                sync_folder(self._path.parent)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
