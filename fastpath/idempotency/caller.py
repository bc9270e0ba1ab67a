"""Whose idempotency key it is, and the keyed digests by which it is known.

A key belongs to the user that the caller's key is of, or to that key where it is of no user; the same characters from
anyone else are another key. Pure.
"""

from hashlib import blake2b
from typing import Final

from fastpath import errors
from fastpath.account.payer import payer_of
from fastpath.idempotency.slot import MARK_SIZE, Mark
from fastpath.settings import Key

HEADER: Final = b"idempotency-key"
LONGEST: Final = 255


def owner_of(key: Key) -> tuple[str, ...]:
    """Who may repeat a request under this key, by names or, for keys of the control plane, by ids."""
    payer = payer_of(key)
    whose = ("user", payer.user) if payer.user else ("key", payer.key)
    return ("ids" if key.ids else "names", payer.tenant, payer.team, *whose)


def read_header(values: list[bytes]) -> bytes:
    """The idempotency key of a request. Raises 400 for one that is none, or for two."""
    if len(set(values)) > 1:
        raise errors.invalid_request("Two different Idempotency-Key headers were sent. Send one.")
    key = values[0]
    if not 0 < len(key) <= LONGEST or not all(0x20 < byte < 0x7F for byte in key):
        raise errors.invalid_request(f"The Idempotency-Key must be 1 to {LONGEST} printable ASCII characters.")
    return key


def mark_request(owner: tuple[str, ...], key: bytes, path: str, body: bytes, secret: bytes) -> Mark:
    """The digests of a request. Every part is preceded by its length, so no two requests run together."""
    whose = blake2b(key=secret, digest_size=MARK_SIZE, person=b"caller")
    for part in (*(name.encode() for name in owner), key):
        whose.update(len(part).to_bytes(4, "little") + part)
    what = blake2b(path.encode() + b"\0", key=secret, digest_size=MARK_SIZE, person=b"request")
    what.update(body)
    return Mark(whose.digest(), what.digest())
