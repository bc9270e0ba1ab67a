"""Opens the arena's file: who may, whether an old one is of use, and how a new one takes its place.

Owns: the folder's and the file's permissions, the name of this boot, the install secret, the choice between keeping,
replacing and refusing. Does not own: what is in the map (`_native.arena`). Concurrency: one opener of a folder at
a time, held by a lock on the folder, which the kernel drops when the opener dies; workers go on meanwhile.
"""

import fcntl
import mmap
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final

from _native.arena import Arena, ArenaError, Sizes, layout_size

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a folder of our own inside it, checked
NAME: Final = "arena"

Say = Callable[[str], None]


def arena_folder(state_folder: Path) -> Path:
    """Where the arena of this user and state folder lies: on tmpfs, so that no counter ever waits for a disk."""
    name = blake2b(os.fsencode(state_folder.absolute()), digest_size=4).hexdigest()
    return SHARED_MEMORY / f"fastpath-{os.geteuid()}-{name}"


def install_secret(pepper: bytes) -> bytes:
    """The 16 bytes that choose where rows lie, made from the pepper (`fastpath.settings.pepper`)."""
    return blake2b(b"arena rows", key=pepper, digest_size=16).digest()


def boot_name() -> bytes:
    """16 bytes for this boot of the kernel and this namespace of process numbers: times and owners of another mean
    nothing here."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    return blake2b(boot + b"%d" % os.stat("/proc/self/ns/pid").st_ino, digest_size=16).digest()


def open_arena(folder: Path, secret: bytes, sizes: Sizes | None = None, *, now: int, say: Say) -> Arena:
    """The node's arena in `folder`, for the supervisor: made when missing, replaced when it is of no use.

    An arena of another layout or other sizes, or a crowded one without workers, is replaced by a new one, which takes
    over its limits and leases; a damaged one or one of another boot is discarded. `say` is told why, in one line.
    `now`: CLOCK_MONOTONIC in ns. Raises ArenaError when the folder or the file is not this user's alone, is a link, or
    has no room.
    """
    sizes = sizes or Sizes()
    with _only_opener(folder):
        old = _map_existing(folder / NAME)
        arena, reason = _keep(old, secret, sizes, now) if old else (None, "")
        if arena is not None:
            return arena
        with _draft(folder, layout_size(sizes)) as memory:
            arena = Arena.format(memory, secret, sizes, boot_name())
            if old is not None:
                say(f"{folder / NAME} {_succeed(arena, old, secret, reason, now)}")
        return arena


def join_arena(folder: Path, secret: bytes) -> Arena:
    """The arena that the supervisor opened, joined by this process. Raises ArenaError when there is none of use."""
    memory = _map_existing(folder / NAME)
    if memory is None:
        raise ArenaError(f"{folder} has no arena")
    arena = Arena.attach(memory, secret, boot_name())
    arena.join()
    return arena


def _keep(old: mmap.mmap, secret: bytes, sizes: Sizes, now: int) -> tuple[Arena | None, str]:
    """The old map as it is, or why it must be replaced."""
    try:
        arena = Arena.attach(old, secret, boot_name())
    except ArenaError as error:
        return None, str(error)
    arena.reap(now)
    if arena.sizes != sizes:
        return None, "it has other sizes"
    if arena.superseded:
        return None, "it was superseded"
    if not arena.workers() and _is_crowded(arena):
        return None, "it is crowded"
    return arena, ""


def _is_crowded(arena: Arena) -> bool:
    """Whether a table that only fills is more than half full: rows are given up with their map alone."""
    room = arena.sizes._asdict()
    used = arena.rows_used
    return any(2 * used[table] > room[table] for table in ("series", "histograms", "buckets", "limits", "cells"))


def _succeed(arena: Arena, old: mmap.mmap, secret: bytes, reason: str, now: int) -> str:
    """Takes the limits over if that can be done; says what was."""
    try:
        buckets, leases = arena.adopt_limits(old, secret, boot_name(), now)
    except ArenaError as error:
        return f"was discarded: {error}"
    return f"was replaced: {reason}; taken over: {buckets} buckets, {leases} leases"


@contextmanager
def _only_opener(folder: Path) -> Iterator[None]:
    """Makes the folder, sees that it is this user's alone, and holds its lock."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ArenaError(f"{folder} cannot hold the arena: {error.strerror}") from None
    try:
        _check_ours(os.fstat(descriptor), folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_ours(found: os.stat_result, path: Path) -> None:
    if found.st_uid != os.geteuid():
        raise ArenaError(f"{path} belongs to another user")
    if found.st_mode & 0o077:
        raise ArenaError(f"{path} can be used by others (mode {found.st_mode & 0o777:o})")


def _map_existing(path: Path) -> mmap.mmap | None:
    """The file's memory; None when there is no file, or nothing in it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArenaError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        _check_ours(found, path)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise ArenaError(f"{path} is not a plain file of one name")
        return mmap.mmap(descriptor, found.st_size) if found.st_size else None
    finally:
        os.close(descriptor)


@contextmanager
def _draft(folder: Path, size: int) -> Iterator[mmap.mmap]:
    """Memory of a new file, every page of it allocated, so that no later write can fail; named when all went well."""
    for leftover in folder.glob(f"{NAME}.*"):  # of an opener that was killed: we hold the lock
        leftover.unlink()
    draft = folder / f"{NAME}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
        yield mmap.mmap(descriptor, size)
        os.rename(draft, folder / NAME)
    except OSError as error:
        raise ArenaError(f"{folder} has no room for an arena of {size} bytes: {error.strerror}") from None
    finally:
        os.close(descriptor)
        draft.unlink(missing_ok=True)
