"""TLS to model servers over transports of ours. The standard library's ssl does the cryptography, through two buffers.

Owns the handshake, records in and out, close_notify and what is a truncation. Does not own sockets, queues and corking
(`transport`), who is trusted (the context), or how long a handshake may take (whoever awaits it). Everything runs on
the loop's thread.
"""

import asyncio
import ssl
from typing import Any

class Secure:
    """The client's end of one TLS connection: the protocol of a `Transport`, and its own protocol's transport.

    Whatever one read of the socket holds is delivered at once, at most a record more than the read. An end of the
    connection without close_notify is an error, as a reset is; after close_notify nothing is.
    """

    def __init__(self, context: ssl.SSLContext, name: str, protocol: Any, established: asyncio.Future[None]) -> None:
        """name: of the server, for SNI and for its certificate. established: done when the handshake is: only then does
        the protocol hear of anything. It raises ssl.SSLError (the certificate, or no TLS) or OSError (the connection).
        Raises ValueError for what can be no name."""

    # what a Transport tells

    def connection_made(self, transport: Any) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def connection_lost(self, exc: BaseException | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

    # what the protocol asks: asyncio.Transport's methods, with its rules

    def write(self, data: bytes) -> None: ...
    def writelines(self, pieces: list[bytes]) -> None: ...
    def can_write_eof(self) -> bool:
        """False: a TLS connection cannot be closed by half."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_reading(self) -> bool: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """In bytes of ciphertext."""

    def get_write_buffer_size(self) -> int:
        """Bytes of ciphertext that wait for the kernel."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Knows what the Transport does, and "ssl_object" while the connection is there."""

    def is_closing(self) -> bool: ...
    def close(self) -> None:
        """Says close_notify, flushes and closes; waits for no answer."""

    def abort(self) -> None:
        """Closes without a word."""
