"""BLAKE2b under one key: what `hashlib.blake2b(data, key=key, digest_size=size)` says, for many short inputs.

hashlib compresses the block of the key again for each input, and copies a state for it; here that is done once.
"""

from typing import final

@final
class KeyedHash:
    """Never changes, so any thread may use it."""

    def __init__(self, key: bytes, size: int = 32) -> None:
        """key: at most 64 bytes; size: of a digest, 1 to 64. Raises ValueError."""

    def digest(self, data: bytes) -> bytes:
        """The hash of an input of any length."""
