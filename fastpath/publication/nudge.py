"""Tells the processes of a node that there is something new in a folder, without saying what.

Owns one datagram socket per listener, in a folder beside the pieces. A nudge carries nothing, so a forged or lost one
does no harm: listeners look for themselves, and do so once a second anyway. Concurrency: a listener belongs to one
event loop; sending never waits.
"""

import asyncio
import os
import secrets
import socket
from pathlib import Path
from typing import Final

from fastpath.publication.disk import make_folder

_ROOM: Final = "nudges"
_MOST_AT_ONCE: Final = 64
_DATAGRAM: Final = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class NudgeListener:
    """Listens from `open` until `close`, as a context manager too."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder / _ROOM)
        self._path = folder / _ROOM / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._socket = socket.socket(socket.AF_UNIX, _DATAGRAM)
        self._news = asyncio.Event()
        with _Room(folder / _ROOM) as room:
            self._socket.bind(room.address(self._path.name))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._drain)

    def __enter__(self) -> "NudgeListener":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def wait(self, most: float) -> bool:
        """Until the next nudge, or `most` seconds. Whether there was one; any number since the last call is one."""
        try:
            async with asyncio.timeout(most):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def close(self) -> None:
        """Stops listening."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _drain(self) -> None:
        try:
            for _ in range(_MOST_AT_ONCE):
                self._socket.recv(16)
        except BlockingIOError:
            pass  # that was all of them
        self._news.set()


def nudge(folder: Path) -> int:
    """Nudges every listener of a folder; their number. Sockets that dead ones left are removed."""
    reached = 0
    try:
        names = os.listdir(folder / _ROOM)
    except FileNotFoundError:
        return 0
    with _Room(folder / _ROOM) as room, socket.socket(socket.AF_UNIX, _DATAGRAM) as sender:
        for name in names:
            try:
                sender.sendto(b"!", room.address(name))
                reached += 1
            except ConnectionRefusedError:
                (folder / _ROOM / name).unlink(missing_ok=True)
            except OSError:  # a full one has a nudge already; one that is gone needs none
                continue
    return reached


class _Room:
    """Names sockets through a descriptor of their folder: an address has 107 bytes, which a path may exceed."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> "_Room":
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)

    def address(self, name: str) -> str:
        return f"/proc/self/fd/{self._descriptor}/{name}"
