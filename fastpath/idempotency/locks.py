"""Locks on byte ranges of a file that the kernel lets go of when their owner dies.

They belong to one open description (Linux's OFD locks), so two stores in one process keep each other out too, and no
close of another descriptor gives them up. Nothing here waits.
"""

import errno
import fcntl
import struct
from typing import Final

_FORM: Final = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid


def try_lock(descriptor: int, start: int, *, shared: bool = False) -> bool:
    """Takes the byte at `start`, unless another description has it."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _ask(fcntl.F_RDLCK if shared else fcntl.F_WRLCK, start))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def unlock(descriptor: int, start: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _ask(fcntl.F_UNLCK, start))


def is_locked(descriptor: int, start: int) -> bool:
    """Whether another description has the byte at `start`."""
    found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _ask(fcntl.F_WRLCK, start))
    kind: int = _FORM.unpack(found)[0]
    return kind != fcntl.F_UNLCK


def _ask(kind: int, start: int) -> bytes:
    return _FORM.pack(kind, 0, start, 1, 0)
