"""Sealing a secret: AES-256-GCM under a master key, bound to the row it stands in.

Owns the form: one byte of version, 4 bytes that name the master key, 12 random bytes of nonce, ciphertext and tag. The
row's id is authenticated with it, so that a sealed secret cannot be moved to another row. Master keys never change
after they are made. Random nonces are good for 2^32 secrets under one key (NIST SP 800-38D, 8.3); a gateway has a few.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fastpath.settings.secret import Secret

KEY_SIZE: Final = 32
_VERSION: Final = b"\x01"
_ID: Final = slice(1, 5)
_NONCE: Final = slice(5, 17)
_BODY: Final = slice(17, None)


class SealError(Exception):
    """A sealed secret cannot be opened. The message says who must do what, and nothing of the secret."""


class MasterKey:
    """One master key. `id` names it and says nothing about it."""

    def __init__(self, key: bytes) -> None:
        """Raises ValueError unless `key` is 32 bytes and not all the same."""
        if len(key) != KEY_SIZE or len(set(key)) == 1:
            raise ValueError(f"a master key is {KEY_SIZE} random bytes")
        self._cipher = AESGCM(key)
        self.id = hashlib.blake2b(key, digest_size=4, person=b"fastpath-master").digest()

    def seal(self, secret: Secret, row: str) -> bytes:
        """The secret, sealed for the row with this id."""
        nonce = os.urandom(12)
        return _VERSION + self.id + nonce + self._cipher.encrypt(nonce, secret.reveal().encode(), _bound(row))

    def open(self, sealed: bytes, row: str) -> Secret:
        """Reverse of `seal`. Raises SealError."""
        try:
            return Secret(self._cipher.decrypt(sealed[_NONCE], sealed[_BODY], _bound(row)).decode())
        except (InvalidTag, ValueError) as error:
            raise SealError("a secret in the database was altered: set it again") from error


class Keyring:
    """The master key in use, the first, and older ones that still open what they sealed."""

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        """Raises ValueError when there is none."""
        if not keys:
            raise ValueError("there is no master key")
        self.current = keys[0]
        self._by_id = {key.id: key for key in keys}

    def __len__(self) -> int:
        return len(self._by_id)

    def seal(self, secret: Secret, row: str) -> bytes:
        """Seals under the key in use."""
        return self.current.seal(secret, row)

    def open(self, sealed: bytes, row: str) -> Secret:
        """Opens with the key that sealed it. Raises SealError."""
        key = self._by_id.get(key_id(sealed))
        if key is None or sealed[:1] != _VERSION:
            name = key_id(sealed).hex()
            raise SealError(f"a secret was sealed under master key {name}, which is not here: bring it back")
        return key.open(sealed, row)


def key_id(sealed: bytes) -> bytes:
    """Which master key sealed it."""
    return sealed[_ID]


def bound_row(table: str, row: str) -> str:
    """A row of another table than that of provider keys, by what it is sealed for."""
    return f"{table}:{row}"


def _bound(row: str) -> bytes:
    return b"provider_keys:" + row.encode()
