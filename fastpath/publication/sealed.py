"""Bytes that were read once, and that nothing can change, cut off or fail to read afterwards.

A file may be truncated or its disk may fail after it was verified; a map of it would then kill the process that looks
(SIGBUS). So verified pieces are copied into memory files that the kernel seals. The descriptor may be handed to the
other processes of a node, which then share the memory. Waits for the disk.
"""

import fcntl
import mmap
import os
from collections.abc import Iterable
from typing import Final

from fastpath.publication.disk import write_all

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Sealed:
    """A sealed memory file. `memory` is its map, which lives as long as anything refers to it."""

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor over. Raises ValueError when it is not sealed: whoever gave it could still write."""
        self.descriptor = descriptor
        if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
            raise ValueError("a memory file that is not sealed")
        # Private: kernels before 6.7 refuse a shared map of a sealed file. Pages are shared all the same.
        self.memory = mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)

    def close(self) -> None:
        """Lets the descriptor go; the map stays for those who use it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def seal(chunks: Iterable[bytes], name: str) -> Sealed:
    """Copies the chunks, which must not be empty, into a sealed memory file. `name` is for people only."""
    descriptor = os.memfd_create(f"fastpath {name}"[:200], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for chunk in chunks:
            write_all(descriptor, chunk)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        return Sealed(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
