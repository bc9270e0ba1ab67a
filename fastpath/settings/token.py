"""How a key looks and how it is hashed: what those who store keys and those who look them up share.

Owns the format `fp-<public id>-<secret>` and the hash `b2:<pepper id>:<64 hex>` (BLAKE2b-256 of the whole key, keyed
with the pepper). Does not own the pepper's file (`private`) or the tables that keys stand in. A `KeyHasher` never
changes after it is made, so any thread may use it.
"""

import hashlib
import secrets

from _native.keyed import KeyedHash
from fastpath.settings.secret import Secret

DIGEST_SIZE = 32
"""Bytes of a hash."""

MAX_TOKEN = 512
"""Longest token that is looked up, in bytes."""


def new_token() -> Secret:
    """A new key: a public id to tell keys apart (32 bits) and a secret (256 bits), both in hex."""
    return Secret(f"fp-{secrets.token_hex(4)}-{secrets.token_hex(32)}")


def public_id(token: Secret) -> str:
    """The part of a key that `new_token` made which may be shown: 8 hex digits. Not unique among many keys."""
    return token.reveal().split("-")[1]


def pepper_id(pepper: bytes) -> str:
    """Name of a pepper that says nothing about it: the first 8 hex digits of its BLAKE2b."""
    return hashlib.blake2b(pepper).hexdigest()[:8]


class KeyHasher:
    """Hashes tokens under one pepper."""

    def __init__(self, pepper: bytes) -> None:
        self._hash = KeyedHash(pepper, DIGEST_SIZE)
        self.pepper_id = pepper_id(pepper)

    def digest(self, token: bytes) -> bytes:
        """32 bytes for a token of any length."""
        return self._hash.digest(token)

    def hash_bytes(self, token: bytes) -> str:
        """The hash of what somebody presented, as it is stored and as it stands in a settings file."""
        return f"b2:{self.pepper_id}:{self.digest(token).hex()}"

    def hash_text(self, token: str) -> str:
        """The same of a text."""
        return self.hash_bytes(token.encode())
