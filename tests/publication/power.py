"""A disk that dies at a chosen call, and forgets what nobody asked it to keep."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest

Undo = Literal["none", "all", "pieces"]
CALLS = ("open", "write", "fsync", "replace", "unlink", "link", "close")


class Crash(BaseException):
    """The process is gone: nothing it would do afterwards happens."""


class Disk:
    """Counts the calls that change or keep a file, dies at the chosen one and at all after it.

    What was written and not synced is then lost, as in a power cut; what was renamed in a folder that was not synced
    may be there or not: `undo` takes back all of it, or all but the manifest.
    """

    def __init__(self, patch: pytest.MonkeyPatch, die_at: int, undo: Undo) -> None:
        self.count = 0
        self._die_at, self._undo = die_at, undo
        self._open: dict[int, int] = {}
        self._unsynced: set[int] = set()
        self._renamed: list[tuple[Path, bytes | None]] = []
        for name in CALLS:
            patch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.count += name != "close"
            if self._die_at <= self.count:
                raise Crash
            if name == "replace":
                target = Path(args[1])
                self._renamed.append((target, target.read_bytes() if target.exists() else None))
            result = call(*args, **kwargs)
            if name == "open":
                self._open[result] = os.fstat(result).st_ino
            elif name == "close":
                self._open.pop(args[0], None)
            elif name == "write":
                self._unsynced.add(os.fstat(args[0]).st_ino)
            elif name == "fsync":
                self._synced(args[0])
            return result

        return watched

    def _synced(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self._unsynced.discard(found.st_ino)
        if stat.S_ISDIR(found.st_mode):
            self._renamed.clear()

    def lose_power(self, folder: Path) -> None:
        """Call after the patches are gone. What the dead process held open is closed, locks with it."""
        for descriptor, inode in self._open.items():
            with suppress(OSError):  # file objects close theirs unseen
                if os.fstat(descriptor).st_ino == inode:
                    os.close(descriptor)
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_ino in self._unsynced:
                os.truncate(path, path.stat().st_size // 2)
        for target, before in reversed(self._renamed if self._undo != "none" else []):
            if self._undo == "all" or target.name != "manifest":
                target.unlink() if before is None else target.write_bytes(before)
