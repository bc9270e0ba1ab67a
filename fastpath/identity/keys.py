"""The table that finds the key behind an `Authorization` header.

Owns the lookup. Does not own how a key looks and is hashed (`fastpath.settings.token`) or what it may do
(`settings.Key`, `scope`). A `KeyTable` never changes after it is made, so any thread may use it.
"""

import secrets
import time
from collections.abc import Callable, Iterable
from hmac import compare_digest
from math import inf

from fastpath.identity.scope import Terms, terms_of
from fastpath.settings import Key
from fastpath.settings.token import DIGEST_SIZE, MAX_TOKEN, KeyHasher

__all__ = ["Key", "KeyTable", "bearer_token"]


class KeyTable:
    """Finds the key that an `Authorization` header presents. scoped: some keys have terms.

    Every lookup costs one keyed digest, whatever was presented, and compares it in constant time. Where the digest
    stands in the table tells an attacker nothing, because nobody without the pepper can steer it.
    """

    def __init__(self, keys: Iterable[Key], hasher: KeyHasher, now: Callable[[], float] = time.time) -> None:
        """now: Unix seconds. Raises ValueError for a hash that is malformed or was made under another pepper."""
        self._hasher = hasher
        self._now = now
        self._nobody: tuple[bytes, Key | None, float] = (secrets.token_bytes(DIGEST_SIZE), None, inf)
        self._by_digest: dict[bytes, tuple[bytes, Key | None, float]] = {}
        self._terms: dict[str, Terms] = {}
        self._expiring = self.scoped = False
        for key in keys:
            self._add(key, _parse_hash(key, hasher.pepper_id))

    def __len__(self) -> int:
        return len(self._by_digest)

    def _add(self, key: Key, digest: bytes) -> None:
        terms, ends = terms_of(key), inf
        if terms is not None:
            self._terms[key.hash], ends = terms, terms.ends
            self._expiring = self._expiring or ends != inf
            self.scoped = True
        self._by_digest[digest] = (digest, key, ends)

    def find(self, authorization: bytes | None) -> Key | None:
        """The key behind the value of an `Authorization` header, None when there is none or it has ended."""
        token = bearer_token(authorization)
        digest = self._hasher.digest(token)
        stored, key, ends = self._by_digest.get(digest, self._nobody)
        ended = self._expiring and self._now() >= ends
        return key if compare_digest(stored, digest) and token and not ended else None

    def terms(self, key: Key) -> Terms | None:
        """What limits a key that was found here; None when nothing but its models does."""
        return self._terms.get(key.hash)

    def current(self, key: Key) -> Key | None:
        """A key that was found in another table, as it is in this one; None when it is gone or has ended.

        A caller that is known by something else than a key comes back as it is: no table knows of it.
        """
        digest = digest_of(key)
        if digest is None:
            return key
        _, found, ends = self._by_digest.get(digest, self._nobody)
        return found if self._now() < ends else None

    def retire(self) -> None:
        """Another table has taken its place: whatever is large goes, though requests still know this one."""


def bearer_token(authorization: bytes | None) -> bytes:
    """The token of `Bearer <token>` (scheme in any letter case); empty when there is none or it is too long."""
    text = _trim(authorization or b"")
    if text.startswith(b"Bearer "):
        token = text.removeprefix(b"Bearer ")
    else:
        scheme, _, token = text.partition(b" ")
        if scheme.lower() != b"bearer":
            return b""
    token = _trim(token)
    return token if len(token) <= MAX_TOKEN else b""


def _trim(text: bytes) -> bytes:
    """Without spaces and tabs at its ends, where there are hardly ever any."""
    return text.strip(b" \t") if text and (text[0] <= 32 or text[-1] <= 32) else text


def digest_of(key: Key) -> bytes | None:
    """The digest in the hash of a key that a table gave; None where there is none."""
    return bytes.fromhex(key.hash[-2 * DIGEST_SIZE :]) if key.hash.startswith("b2:") else None


def _parse_hash(key: Key, wanted_pepper: str) -> bytes:
    """The digest in a key's hash. Raises ValueError, naming the key, when this pepper cannot have made it."""
    kind, _, rest = key.hash.partition(":")
    made_under, _, text = rest.partition(":")
    if kind != "b2" or len(text) != 2 * DIGEST_SIZE or set(text) - set("0123456789abcdef"):
        raise ValueError(f"the hash of key {key.name} is malformed: make it again with `fastpath keys hash`")
    if made_under != wanted_pepper:
        raise ValueError(f"the hash of key {key.name} was made under another pepper: make it again here")
    return bytes.fromhex(text)
