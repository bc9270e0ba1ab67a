"""Plain TCP and Unix sockets as asyncio transports, in compiled code. `tls` goes on top of them.

One Poller per event loop and process; everything runs on the loop's thread. What a protocol raises closes its
connection and goes to the loop's exception handler.
"""

import asyncio
from typing import Any

class Poller:
    """Watches sockets with an epoll of its own, which the loop watches as one descriptor. Close it at the very end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def attach(self, fd: int, protocol: Any, peer: Any = None) -> Transport:
        """Takes over a connected, non-blocking socket, tells the protocol of it at once and begins to read. peer: what
        `get_extra_info("peername")` gives. Raises OSError, and closes the socket then."""

    def close(self) -> None:
        """Closes what is left, without telling."""

class Watched:
    """What a Poller watches: for Cython, see transport.pxd."""

class Latecomer(Watched):
    """Has its turn after the events of one turn: for Cython, see transport.pxd."""

class Transport(Watched):
    """One connection, made by `Poller.attach`. The methods are those of asyncio.Transport, with its rules.

    While reading is paused nothing is delivered, but a reset is told at once. What is written after `close` is ignored.
    """

    def write(self, data: bytes) -> None:
        """Hands data to the kernel; what it does not take waits for room. What is written while one event is served,
        up to 16 KiB, goes out in one piece after it."""

    def writelines(self, pieces: list[bytes]) -> None: ...
    def write_eof(self) -> None: ...
    def can_write_eof(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_reading(self) -> bool: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the kernel."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Knows "peername"."""

    def is_closing(self) -> bool: ...
    def close(self) -> None:
        """Flushes, then closes; `connection_lost(None)` follows."""

    def abort(self) -> None:
        """Closes without flushing; `connection_lost(None)` follows soon."""
