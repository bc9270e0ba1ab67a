"""Where damaged bytes are kept, for a person to look at.

Owns the folder `quarantine` and its size. Does not own what is damage. Concurrency: the one reader uses it.
"""

import logging
import os
from pathlib import Path
from typing import Final

from fastpath.outbox.folder import open_folder, replace_file

FOLDER: Final = "quarantine"
#: Bytes kept in all. Damage beyond it is counted and no longer kept, so that a rotten disk cannot fill itself.
MOST: Final = 64 << 20

_log = logging.getLogger("fastpath.outbox")


class Quarantine:
    """One file per damaged region, named by its segment and offset: met again after a crash, it is the same file."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder = folder / FOLDER
        self._most = most

    def save(self, segment: str, offset: int, data: bytes) -> bool:
        """Keeps the bytes that lay at `offset` of a segment; False, and a line in the log, when that cannot be."""
        name = f"{segment}-{offset}"
        try:
            folder = open_folder(self._folder)
            if self._count() + len(data) > self._most and not (folder / name).exists():
                _log.error("%d damaged bytes of %s are not kept: %s is full", len(data), name, folder)
                return False
            replace_file(folder / name, data)
        except OSError as error:
            _log.error("%d damaged bytes of %s are not kept: %s", len(data), name, error)
            return False
        _log.error("%d damaged bytes are kept in %s", len(data), folder / name)
        return True

    def _count(self) -> int:
        with os.scandir(self._folder) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
