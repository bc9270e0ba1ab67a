"""What a node must know when it starts while Redis is away: how often it started, how many nodes there are, and what
it held of each budget.

Owns the file `shares.json` of the state folder (0600, replaced whole) and `shares.lock`, which one process at a time
holds. What the file says is bounded where it is read; a damaged one is as good as none, and then budgets wait for
Redis.
"""

import fcntl
import os
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from fastpath.settings.private import PrivateFileError, read_private

FILE: Final = "shares.json"
LOCK: Final = "shares.lock"
MOST_BYTES: Final = 64 << 20

Amount = Annotated[int, Meta(ge=0, lt=1 << 53)]


class Held(msgspec.Struct, frozen=True):
    """Of one budget in one period: by this node, of that spent when it was written, by all, and by how many."""

    held: Amount
    used: Amount
    total: Amount
    nodes: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


class Memory(msgspec.Struct, frozen=True):
    """`clean`: written at an orderly end, so that `used` is exact."""

    life: Amount = 0
    nodes: Annotated[int, Meta(ge=1, le=1000)] = 1
    clean: bool = False
    funds: dict[str, Held] = {}


def read_memory(folder: Path) -> tuple[Memory, str]:
    """What is remembered, and what is wrong with it ("" for nothing)."""
    try:
        data = read_private(folder / FILE, MOST_BYTES)
        return (Memory(), "") if data is None else (msgspec.json.decode(data, type=Memory), "")
    except (PrivateFileError, OSError, msgspec.MsgspecError) as error:
        return Memory(), f"what this node held of shared budgets is not known, they wait for Redis: {error}"


def write_memory(folder: Path, memory: Memory) -> None:
    """Replaces the file, durably. Raises OSError."""
    draft = folder / f"{FILE}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(memory))
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, folder / FILE)


class Turn:
    """The right to speak for this node, which a node that is being replaced hands on."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._file = -1

    def take(self) -> bool:
        """Whether this process has it, now or already. Raises OSError."""
        if self._file >= 0:
            return True
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def give(self) -> None:
        """Lets another process have it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
