"""Callers' keys: how they look, how they are hashed, and the table that finds one.

Owns the key format `fp-<public id>-<secret>`, the hash `b2:<pepper id>:<64 hex>` (BLAKE2b-256 of the whole key, keyed
with the pepper) and the lookup of `Authorization`. Does not own the pepper's file (`pepper`) or what a key may do
(`settings.Key`). `KeyHasher` and `KeyTable` never change after they are made, so any thread may use them.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from fastpath.settings import Key

__all__ = ["MAX_TOKEN", "Key", "KeyHasher", "KeyTable", "bearer_token", "new_token", "pepper_id"]

MAX_TOKEN = 512
"""Longest token that is looked up, in bytes."""

_DIGEST_SIZE = 32


def new_token() -> str:
    """A new key: a public id to tell keys apart (32 bits) and a secret (256 bits), both in hex."""
    return f"fp-{secrets.token_hex(4)}-{secrets.token_hex(32)}"


def pepper_id(pepper: bytes) -> str:
    """Name of a pepper that says nothing about it: the first 8 hex digits of its BLAKE2b."""
    return hashlib.blake2b(pepper).hexdigest()[:8]


class KeyHasher:
    """Hashes tokens under one pepper. Hashing copies a state that already holds the pepper."""

    def __init__(self, pepper: bytes) -> None:
        self._state = hashlib.blake2b(key=pepper, digest_size=_DIGEST_SIZE)
        self.pepper_id = pepper_id(pepper)

    def digest(self, token: bytes) -> bytes:
        """32 bytes for a token of any length."""
        state = self._state.copy()
        state.update(token)
        return state.digest()

    def hash_text(self, token: str) -> str:
        """The hash as it stands in a settings file."""
        return f"b2:{self.pepper_id}:{self.digest(token.encode()).hex()}"


class KeyTable:
    """Finds the key that an `Authorization` header presents.

    Every lookup costs one keyed digest, whatever was presented, and compares it in constant time. Where the digest
    stands in the table tells an attacker nothing, because nobody without the pepper can steer it.
    """

    def __init__(self, keys: Iterable[Key], hasher: KeyHasher) -> None:
        """Raises ValueError for a hash that is malformed or was made under another pepper."""
        self._hasher = hasher
        self._nobody: tuple[bytes, Key | None] = (secrets.token_bytes(_DIGEST_SIZE), None)
        self._by_digest: dict[bytes, tuple[bytes, Key | None]] = {}
        for key in keys:
            digest = _parse_hash(key, hasher.pepper_id)
            self._by_digest[digest] = (digest, key)

    def __len__(self) -> int:
        return len(self._by_digest)

    def find(self, authorization: bytes | None) -> Key | None:
        """The key behind the value of an `Authorization` header, None when there is none."""
        token = bearer_token(authorization)
        digest = self._hasher.digest(token)
        stored, key = self._by_digest.get(digest, self._nobody)
        return key if hmac.compare_digest(stored, digest) and token else None


def bearer_token(authorization: bytes | None) -> bytes:
    """The token of `Bearer <token>` (scheme in any letter case); empty when there is none or it is too long."""
    scheme, _, rest = (authorization or b"").strip(b" \t").partition(b" ")
    token = rest.strip(b" \t")
    return token if scheme.lower() == b"bearer" and len(token) <= MAX_TOKEN else b""


def _parse_hash(key: Key, wanted_pepper: str) -> bytes:
    """The digest in a key's hash. Raises ValueError, naming the key, when this pepper cannot have made it."""
    kind, _, rest = key.hash.partition(":")
    made_under, _, text = rest.partition(":")
    if kind != "b2" or len(text) != 2 * _DIGEST_SIZE or set(text) - set("0123456789abcdef"):
        raise ValueError(f"the hash of key {key.name} is malformed: make it again with `fastpath keys hash`")
    if made_under != wanted_pepper:
        raise ValueError(f"the hash of key {key.name} was made under another pepper: make it again here")
    return bytes.fromhex(text)
