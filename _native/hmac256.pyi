"""HMAC-SHA-256 (RFC 2104, FIPS 180-4) of short messages under one key.

The ledger makes two ids of each request with it: one took 0.92 us by two contexts of OpenSSL, and takes 0.33 so, most
of it the message (x86 with SHA instructions). Immutable once made: any thread may use it.
"""

from typing import final

BLOCK: int
"""Bytes of a key, at most."""

@final
class Keyed:
    """A key. plain: without the processor's instructions, as where there are none."""

    def __init__(self, secret: bytes, plain: bool = False) -> None:
        """Raises ValueError for a secret of more than BLOCK bytes."""

    def digest(self, message: bytes) -> bytes:
        """32 bytes."""

    def ids(self, head: bytes, first: bytes, second: bytes, size: int) -> bytearray:
        """`head`, and behind it the first `size` bytes of the digests of head + first and head + second.

        The ids of one request in one buffer. head and tail have at most 128 bytes together. Raises ValueError.
        """
