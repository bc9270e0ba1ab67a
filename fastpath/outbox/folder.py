"""The folder that segments lie in: who may use it, what its files are called, how one is replaced whole.

Owns names and permissions. Does not own what is in the files. Concurrency: any process; a name belongs to one writer's
life, so two writers never meet, and the one reader holds the folder's lock.
"""

import fcntl
import os
import re
import stat
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

from fastpath.settings.private import find_stranger, sync_folder

LOCK: Final = "reader.lock"
DRAFT: Final = ".new"
_NAME: Final = re.compile(r"([0-9]{1,10})-([0-9]{1,20})-([0-9a-f]{16})-([0-9]{8,10})\.seg(\.new)?")


class OutboxError(Exception):
    """The outbox cannot be used; the message says why and what to do."""


class Stream(NamedTuple):
    """One writer's life: its process, when that started (clock ticks since boot), and 64 random bits.

    The bits are in every checksum. Callers never see them, so nobody can write a record into what he sends.
    """

    pid: int
    start: int
    token: int

    @property
    def name(self) -> str:
        return f"{self.pid}-{self.start}-{self.token:016x}"

    def segment(self, sequence: int) -> str:
        """The name of one of its segments."""
        return f"{self.name}-{sequence:08d}.seg"


def open_folder(path: Path) -> Path:
    """Makes the folder when it is missing. Raises OutboxError unless it is this user's alone."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise OutboxError(f"{path} cannot hold the outbox: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise OutboxError(f"{path} is not a folder")
    wrong = find_stranger(found, path, "700")
    if wrong is not None:
        raise OutboxError(wrong)
    return path


def lock_folder(path: Path) -> int:
    """Takes the place of the only reader, until the descriptor it gives is closed. Raises OutboxError when taken."""
    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise OutboxError(f"{path} is being read by another process: an outbox has one reader") from None
    return descriptor


def list_segments(path: Path) -> dict[Stream, list[int]]:
    """The sequence numbers of each stream's segments, ascending. Other files are not looked at."""
    found: dict[Stream, list[int]] = defaultdict(list)
    for name in os.listdir(path):
        match = _NAME.fullmatch(name)
        if match and not match[5]:
            found[_stream_of(match)].append(int(match[4]))
    for sequences in found.values():
        sequences.sort()
    return dict(found)


def list_drafts(path: Path) -> list[tuple[Stream, str]]:
    """The segments that their writers are still making, with their names."""
    matches = [_NAME.fullmatch(name) for name in os.listdir(path)]
    return [(_stream_of(match), match[0]) for match in matches if match and match[5]]


def count_bytes(path: Path) -> int:
    """The sizes of all segments, finished or not."""
    total = 0
    with os.scandir(path) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                total += _size_of(entry)
    return total


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file (mode 0600) that, after any crash, is the old one or the new one. Raises OSError."""
    draft = path.with_name(path.name + ".tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _stream_of(match: re.Match[str]) -> Stream:
    return Stream(int(match[1]), int(match[2]), int(match[3], 16))


def _size_of(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # acknowledged and removed since
        return 0
