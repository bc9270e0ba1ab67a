"""Private files that are whole or not there, whatever crashes in between.

Owns: how a file is written (draft, fsync, rename), who may have written one that is read, and the folder's own fsync.
Does not own: which files there are. Every call may wait for the disk: none belongs on an event loop.
"""

import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from fastpath.publication.problem import PublicationError
from fastpath.settings.private import find_stranger, sync_folder

DRAFT: Final = ".draft"
"""Ends the names of files that are not finished; whoever writes next removes those that a crash left."""

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a fifo in the file's place must not stop us
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_folder(path: Path) -> None:
    """The folder, 0700, made when missing. Raises PublicationError when others may use it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.lstat(path)
    except OSError as error:
        raise PublicationError(f"{path} cannot be made ({error.strerror}): name another --state-dir") from None
    if not stat.S_ISDIR(found.st_mode):
        raise PublicationError(f"{path} is not a folder: move it away, or name another --state-dir")
    _check_private(found, path, "700")


def open_private(path: Path) -> int:
    """A descriptor to read by. Raises FileNotFoundError, or PublicationError when others could have written it."""
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise PublicationError(f"{path} cannot be opened ({error.strerror}): run as the user who owns it") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise PublicationError(f"{path} is not a file: remove it")
        _check_private(found, path, "600")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_private(path: Path, most: int) -> bytes | None:
    """At most `most` bytes and one, so that more is noticed; None when there is no such file. As `open_private`."""
    try:
        descriptor = open_private(path)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most + 1)


def write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    """Puts a file in place of any before it. Durable under its name once the folder is synced (`sync_folder`)."""
    with Draft(path) as draft:
        for chunk in chunks:
            draft.write(chunk)
        draft.place()


def write_once(path: Path, data: bytes) -> None:
    """Makes the file whole or not at all, durably; keeps the one that another process made first."""
    with Draft(path) as draft:
        draft.write(data)
        draft.sync()
        with suppress(FileExistsError):  # what the other process made is as good as ours
            os.link(draft.path, path)
    sync_folder(path.parent)


class Draft:
    """A new file beside `target`, which is placed or goes. A context manager."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.{secrets.token_hex(8)}{DRAFT}")
        self._target = target
        self._descriptor = os.open(self.path, _WRITE, 0o600)

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes the draft unless it was placed."""
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Adds bytes. Raises OSError."""
        write_all(self._descriptor, data)

    def sync(self) -> None:
        """Makes the content durable. Raises OSError."""
        os.fsync(self._descriptor)

    def place(self) -> None:
        """Makes the draft the target, which is there whole or not at all; its name lasts after `sync_folder`."""
        self.sync()
        os.replace(self.path, self._target)


def write_all(descriptor: int, data: bytes) -> None:
    """Goes on after short writes. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _check_private(found: os.stat_result, path: Path, mode: str) -> None:
    wrong = find_stranger(found, path, mode)
    if wrong is not None:
        raise PublicationError(wrong)
