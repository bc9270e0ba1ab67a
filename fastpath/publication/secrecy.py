"""Keeps the settings in a publication secret: they hold providers' keys, and lie in files, backups and Redis.

AES-256-GCM under a key that the nodes of one installation share. Redis and whoever reads a backup see only the length.
"""

import secrets
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fastpath.publication.problem import Refused

_NONCE: Final = 12
_CONTEXT: Final = b"fastpath settings 1"


def settings_key(pepper: bytes) -> bytes:
    """The 32 bytes that seal settings, made from the pepper, which every node that knows callers' keys has."""
    return blake2b(b"published settings", key=pepper, digest_size=32).digest()


class SettingsSeal:
    """Seals and opens. The nonce is random: 2**32 publications under one pepper would be too many."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, settings: bytes) -> bytes:
        """Sealed bytes, 28 longer."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, settings, _CONTEXT)

    def open(self, data: bytes) -> bytes:
        """The settings. Raises Refused when another key sealed them."""
        try:
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], _CONTEXT)
        except (InvalidTag, ValueError):
            raise Refused("damaged", "other settings than this node's pepper could seal") from None
