"""An ID token's checks (OpenID Connect Core 1.0, section 3.1.3.7). Pure over a key set."""

import base64
import hashlib
import hmac
from typing import Any

import msgspec

from fastpath.identity.token.compact import read_claims, split
from fastpath.identity.token.identity import Claims, read_identity
from fastpath.identity.token.jwk import KeySet
from fastpath.identity.token.proof import check_algorithm, prove
from fastpath.identity.token.refusal import Reason, Refused
from fastpath.identity.token.trust import TrustedIssuer
from fastpath.identity.token.validity import read_audience, read_window

_HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512, "DSA": hashlib.sha512}


class Expected(msgspec.Struct, frozen=True):
    """What an ID token must answer to. access_token: the one that came with it."""

    client_id: str
    nonce: str
    access_token: str = ""


def check_id_token(token: bytes, trusted: TrustedIssuer, keys: KeySet, expected: Expected, now: float) -> Claims:
    """The person that an ID token names. now: Unix seconds. Raises Refused.

    The issuer's `audience` is of access tokens and does not count here: an ID token is for the client alone.
    """
    compact = split(token)
    claims = read_claims(compact)
    if claims.get("iss") != trusted.issuer:
        raise Refused(Reason.UNKNOWN_ISSUER)
    check_algorithm(compact.algorithm, trusted)
    _check_party(claims, expected.client_id)
    window = read_window(claims, trusted.leeway)
    window.check(now)
    if window.issued is None:
        raise Refused(Reason.MISSING_CLAIM)
    prove(compact, keys)
    if not _same(claims.get("nonce"), expected.nonce):
        raise Refused(Reason.WRONG_NONCE)
    if "at_hash" in claims and not _same(claims["at_hash"], _half_hash(compact.algorithm, expected.access_token)):
        raise Refused(Reason.MIXED_TOKENS)
    return read_identity(claims, trusted, window.issued, window.expires)


def _check_party(claims: dict[str, Any], client_id: str) -> None:
    """For us, and asked for by us: with several audiences `azp` must say so."""
    audience = read_audience(claims)
    party = claims.get("azp", client_id if len(audience) == 1 else None)
    if client_id not in audience or party != client_id:
        raise Refused(Reason.WRONG_AUDIENCE)


def _half_hash(algorithm: str, access_token: str) -> str:
    digest = _HASHES[algorithm[-3:]](access_token.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def _same(found: object, expected: str) -> bool:
    return isinstance(found, str) and hmac.compare_digest(
        found.encode(errors="surrogatepass"), expected.encode(errors="surrogatepass")
    )
