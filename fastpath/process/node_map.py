"""Which arena a node has, and how its workers come to the same one.

Owns: the choice between a named arena and a nameless one, and the end of either. Does not: judge an old map or its file
(`fastpath.arena`). A node with a fixed port and a pepper has a named one, which goes on when the node is restarted or
succeeded, so that limits hold. Without a pepper there are no keys to limit, and a port that the kernel chose is never
found again: then it is memory without a name, which workers inherit. Concurrency: one supervisor; workers only map.
"""

import mmap
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from _native.arena import Arena, ArenaError, Sizes, layout_size
from fastpath.arena import Say, arena_folder, boot_name, install_secret, open_arena
from fastpath.settings.pepper import PepperError, read_pepper

SECRET_SIZE: Final = 16
MOST_WORKERS: Final = 255

# Rows of metrics are what a page of 50 ms can hold: 2,048 lines, 256 more, and 15 for each of 256 histograms.
SERIES: Final = 2_048
LANES: Final = 256
HISTOGRAMS: Final = 256

# Of 64 bytes: two for each endpoint, another for each of them in each worker; with other nodes two for each limit that
# is shared and four for each budget.
CELLS: Final = 16_384
SHARED_CELLS: Final = 65_536
# Of 128 bytes: one for each endpoint whose load is read.
SAMPLES: Final = 4_096


def sizes_for(workers: int, *, shared: bool = False) -> Sizes:
    """Tables for a node of so many workers, twice as many while one generation follows another.

    shared: several nodes have parts of its limits.
    """
    count = min(MOST_WORKERS, 2 * (workers + 2))  # the supervisor and the watch process have places too
    cells = SHARED_CELLS if shared else CELLS
    return Sizes(workers=count, series=SERIES, lanes=LANES, histograms=HISTOGRAMS, cells=cells, samples=SAMPLES)


class NodeMap:
    """The node's arena, as its supervisor has it. Workers open it by `secret` and `folder`, or else `fd` (not -1)."""

    def __init__(self, arena: Arena, secret: bytes, folder: Path | None, fd: int) -> None:
        self.arena = arena
        self.secret = secret
        self.folder = folder
        self.fd = fd

        # So that a node before this one, which may still be draining, sees that the arena is in use.
        arena.join()

    def close(self) -> None:
        """Gives it up. A named one stays while another node uses it, or it holds limits for the next one."""
        self.arena.leave()
        if self.fd >= 0:
            os.close(self.fd)
        elif self.folder is not None and not self.arena.workers() and not self._has_limits():
            shutil.rmtree(self.folder, ignore_errors=True)  # where that fails the next node finds what it may use

    def _has_limits(self) -> bool:
        used = self.arena.rows_used
        return bool(used["buckets"] or used["leases"] or used["budgets"])


def open_map(state: Path, address: str | None, sizes: Sizes, *, now: int, say: Say) -> NodeMap:
    """The arena of the node that listens at `address`, None when the kernel chooses; `now`: CLOCK_MONOTONIC in ns.

    Raises OSError when there is no memory for it.
    """
    pepper = _find_pepper(state)
    if pepper is not None and address is not None:
        folder, secret = arena_folder(state / address.replace("/", ":")), install_secret(pepper)
        try:
            return NodeMap(open_arena(folder, secret, sizes, now=now, say=say), secret, folder, -1)
        except ArenaError as error:
            say(f"limits will not outlive this process: {error}")
    return _nameless(secrets.token_bytes(SECRET_SIZE), sizes)


def attach_map(fd: int, secret: bytes) -> Arena:
    """The arena in an inherited descriptor, which is closed; joined. Raises ArenaError or OSError."""
    with open(fd, "r+b", buffering=0) as file:
        arena = Arena.attach(mmap.mmap(file.fileno(), 0), secret, boot_name())
    arena.join()
    return arena


def _nameless(secret: bytes, sizes: Sizes) -> NodeMap:
    size = layout_size(sizes)
    fd = os.memfd_create("fastpath-arena", os.MFD_CLOEXEC)
    try:
        os.posix_fallocate(fd, 0, size)  # all of it now: what is missing later would be a SIGBUS
        return NodeMap(Arena.format(mmap.mmap(fd, size), secret, sizes, boot_name()), secret, None, fd)
    except BaseException:
        os.close(fd)
        raise


def _find_pepper(state: Path) -> bytes | None:
    try:
        return read_pepper(state)
    except PepperError:  # whoever needs the pepper says what is wrong with it
        return None
