"""A token's bytes in their parts, read strictly. Nothing that comes out is to be believed yet.

Owns the compact serialisation (RFC 7515) and what a header may hold; refuses whatever two readers could read in two
ways: base64 that is not canonical, a member given twice, anything but one JSON object. Pure.
"""

import base64
import binascii
import json
from typing import Any

import msgspec

from _native.jsonscan import scan
from fastpath.identity.token.refusal import Reason, Refused

#: Longest token that is looked at, bytes.
MAX_TOKEN = 8192
_MAX_KID = 256

#: Header members that would let a token say which key proves it, or how it is to be read (RFC 7515, 7516, 7797).
_REFUSED_MEMBERS = {
    "jwk": Reason.KEY_IN_HEADER,
    "jku": Reason.KEY_IN_HEADER,
    "x5c": Reason.KEY_IN_HEADER,
    "x5u": Reason.KEY_IN_HEADER,
    "crit": Reason.CRITICAL,
    "b64": Reason.UNENCODED_PAYLOAD,
    "enc": Reason.ENCRYPTED,
    "zip": Reason.ENCRYPTED,
    "cty": Reason.NESTED,
}
#: Other types (`logout+jwt`, `dpop+jwt`, ...) are made for other purposes (RFC 8725, 3.11).
_TYPES = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")


class Compact(msgspec.Struct, frozen=True):
    """A token in its parts. signed: the bytes that the signature is over. payload: decoded, not yet read."""

    algorithm: str
    kid: str | None
    payload: bytes
    signed: bytes
    signature: bytes


def split(token: bytes) -> Compact:
    """The parts of a token. Raises Refused."""
    if len(token) > MAX_TOKEN:
        raise Refused(Reason.TOO_LONG)
    header_text, payload, signature = _segments(token)
    header = _read_object(decode(header_text))
    algorithm, kid = _check_header(header)
    return Compact(
        algorithm=algorithm,
        kid=kid,
        payload=decode(payload),
        signed=token[: len(header_text) + 1 + len(payload)],
        signature=decode(signature),
    )


def read_claims(compact: Compact) -> dict[str, Any]:
    """The payload as claims. Raises Refused when it is not one JSON object."""
    return _read_object(compact.payload)


def decode(text: bytes) -> bytes:
    """base64url without padding; one spelling for each value. Raises Refused."""
    try:
        data = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        raise Refused(Reason.MALFORMED) from None
    # The decoder passes over foreign letters and stray bits: what does not come back as it was had some.
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text:
        raise Refused(Reason.MALFORMED)
    return data


def _segments(token: bytes) -> tuple[bytes, bytes, bytes]:
    segments = token.split(b".")
    if len(segments) == 5:
        raise Refused(Reason.ENCRYPTED)
    if len(segments) != 3:
        raise Refused(Reason.MALFORMED)
    return segments[0], segments[1], segments[2]


def _read_object(data: bytes) -> dict[str, Any]:
    if scan(data) != -1:  # grammar, UTF-8, depth: Python's own decoder takes NaN and any depth
        raise Refused(Reason.MALFORMED)
    try:
        found = json.loads(data, object_pairs_hook=_without_duplicates)
    except ValueError:  # an integer of more than 4,300 digits
        raise Refused(Reason.MALFORMED) from None
    if not isinstance(found, dict):
        raise Refused(Reason.MALFORMED)
    return found


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused(Reason.DUPLICATE_MEMBER)
    return found


def _check_header(header: dict[str, Any]) -> tuple[str, str | None]:
    for member, reason in _REFUSED_MEMBERS.items():
        if member in header:
            raise Refused(reason)
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Refused(Reason.WRONG_TYPE)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not (kid is None or (isinstance(kid, str) and len(kid) <= _MAX_KID)):
        raise Refused(Reason.MALFORMED)
    return algorithm, kid
