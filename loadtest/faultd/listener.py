"""A listening port that can refuse and come back on the same number.

Owns the listening socket. Does not own accepted ones: they go to the callback. Concurrency: one event loop; every
method is synchronous, so a rule set now holds for the next SYN.
"""

import asyncio
import socket
from collections.abc import Callable

BUFFER_BYTES = 128 * 1024
"""Kernel buffers of proxied sockets: small, so that one side's slowness is felt on the other (default: megabytes)."""


class Listener:
    """Accepts on one address while open; holds the port, refusing, while not."""

    def __init__(self, host: str, on_accept: Callable[[socket.socket, str], None]) -> None:
        self._host = host
        self._port = 0
        self._on_accept = on_accept
        self._sock: socket.socket | None = None
        self._listening = False

    def open(self, port: int = 0) -> int:
        """Starts accepting; returns the port. Raises OSError when the address cannot be bound."""
        self._port = self._port or port
        sock = self._sock or self._bind()
        sock.listen(1024)
        self._sock, self._listening = sock, True
        asyncio.get_running_loop().add_reader(sock.fileno(), self._accept)
        return self._port

    def refuse(self) -> None:
        """Stops listening; the port stays bound, so that nobody else takes it. Waiting callers are reset."""
        if self._listening:
            self.close()
            self._sock = self._bind()

    def resume(self) -> None:
        """Ends `refuse`. Does nothing before the first `open`."""
        if self._sock is not None and not self._listening:
            self.open()

    def close(self) -> None:
        """Gives the port up."""
        if self._sock is None:
            return
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._sock.close()
        self._sock, self._listening = None, False

    def _bind(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        limit(sock)
        sock.bind((self._host, self._port))
        sock.setblocking(False)
        self._port = sock.getsockname()[1]
        return sock

    def _accept(self) -> None:
        while self._sock is not None and self._listening:
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            self._on_accept(sock, f"{peer[0]}:{peer[1]}")


def limit(sock: socket.socket) -> None:
    """Bounds the kernel's buffers; accepted sockets inherit it from the listener. Before connect or listen only."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
