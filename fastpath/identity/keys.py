"""The table that finds the key behind an `Authorization` header.

Owns the lookup. Does not own how a key looks and is hashed (`fastpath.settings.token`) or what it may do
(`settings.Key`). A `KeyTable` never changes after it is made, so any thread may use it.
"""

import hmac
import secrets
from collections.abc import Iterable

from fastpath.settings import Key
from fastpath.settings.token import DIGEST_SIZE, MAX_TOKEN, KeyHasher

__all__ = ["Key", "KeyTable", "bearer_token"]


class KeyTable:
    """Finds the key that an `Authorization` header presents.

    Every lookup costs one keyed digest, whatever was presented, and compares it in constant time. Where the digest
    stands in the table tells an attacker nothing, because nobody without the pepper can steer it.
    """

    def __init__(self, keys: Iterable[Key], hasher: KeyHasher) -> None:
        """Raises ValueError for a hash that is malformed or was made under another pepper."""
        self._hasher = hasher
        self._nobody: tuple[bytes, Key | None] = (secrets.token_bytes(DIGEST_SIZE), None)
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
    if kind != "b2" or len(text) != 2 * DIGEST_SIZE or set(text) - set("0123456789abcdef"):
        raise ValueError(f"the hash of key {key.name} is malformed: make it again with `fastpath keys hash`")
    if made_under != wanted_pepper:
        raise ValueError(f"the hash of key {key.name} was made under another pepper: make it again here")
    return bytes.fromhex(text)
