"""Streams that this process holds open, idle or stalled. Owns the sockets. Blocking; one thread."""

import socket
from typing import Self

from bench.load.chunks import Writer
from bench.stage.callers import Load
from bench.stage.programs import Void

TINY = 4_096
"""Receive buffer of a reader that stalls, bytes: what the kernel holds for it is little, the proxy meets it soon."""
PATIENCE = 30.0


class Holder:
    """Use as a context manager; leaving closes all. Raises Void when a stream does not begin."""

    def __init__(self, port: int, load: Load) -> None:
        self._port = port
        self._writer = Writer(load)
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for held in self._sockets:
            held.close()

    def __len__(self) -> int:
        return len(self._sockets)

    def open_until(self, count: int) -> None:
        """Opens streams until there are `count`, each with its first event read."""
        while len(self._sockets) < count:
            self._await_event(self._ask(0))

    def stall_until(self, count: int) -> None:
        """Opens streams until there are `count`, of which nothing is ever read."""
        while len(self._sockets) < count:
            self._ask(TINY)

    def ended(self) -> int:
        """How many idle streams the other end has closed, or said more on."""
        return sum(_has_news(held) for held in self._sockets)

    def _ask(self, buffer: int) -> socket.socket:
        opened = socket.socket()
        self._sockets.append(opened)
        if buffer:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        opened.settimeout(PATIENCE)
        opened.connect(("127.0.0.1", self._port))
        opened.sendall(self._writer.next())
        return opened

    def _await_event(self, opened: socket.socket) -> None:
        data = b""
        while not data.endswith(b"\n\n\r\n"):
            more = opened.recv(1 << 16)
            data += more
            if not more or not data.startswith(b"HTTP/1.1 200"[: len(data)]):
                raise Void(f"stream {len(self)} did not begin: {data[:200]!r}")


def _has_news(held: socket.socket) -> bool:
    held.setblocking(False)
    try:
        held.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
