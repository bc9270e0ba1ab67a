"""Who a token's bearer is: its claims as tenant, team, user and scopes.

Owns the mapping that the issuer's settings describe. What an identity may do is the snapshot's business. Pure.
"""

import hashlib
from typing import Any

import msgspec

from fastpath.identity.token.refusal import Reason, Refused
from fastpath.identity.token.trust import TrustedIssuer

_MAX_TEXT = 256
_MAX_NAME = 128
_MAX_SCOPES = 128


class Claims(msgspec.Struct, frozen=True, gc=False):
    """A proven caller. A user is known by issuer and user together: two issuers may use one name for two people."""

    issuer: str  # the configured name
    tenant: str
    team: str  # "" when the token names none
    user: str
    scopes: tuple[str, ...]
    token_id: str  # `jti`, "" when there is none
    issued: float | None  # Unix seconds
    expires: float  # Unix seconds, leeway not included

    @property
    def principal(self) -> str:
        """The user under a name that no other issuer can give out, for records and limits: at most 128 letters."""
        return shorten(f"{self.issuer}:{self.user}" if self.user else self.issuer)


def shorten(name: str) -> str:
    """A name as it is up to 128 letters, which databases and records take; else its beginning and its BLAKE2b."""
    if len(name) <= _MAX_NAME:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    return f"{name[: _MAX_NAME - len(digest) - 1]}~{digest}"


def read_identity(claims: dict[str, Any], trusted: TrustedIssuer, issued: float | None, expires: float) -> Claims:
    """Raises Refused for a claim that is missing or malformed, and for a tenant that is not this issuer's."""
    names = trusted.claims
    return Claims(
        issuer=trusted.name,
        tenant=_read_tenant(claims, trusted),
        team=_text(_find(claims, names.team)),
        user=_read_user(claims, names.user),
        scopes=_read_scopes(_find(claims, names.scopes)),
        token_id=_text(claims.get("jti")),
        issued=issued,
        expires=expires,
    )


def _read_tenant(claims: dict[str, Any], trusted: TrustedIssuer) -> str:
    named = _text(_find(claims, trusted.claims.tenant))
    if not named:
        if trusted.claims.tenant and not trusted.tenant:
            raise Refused(Reason.MISSING_CLAIM)
        return trusted.tenant
    if named not in trusted.tenants and "*" not in trusted.tenants:
        raise Refused(Reason.FOREIGN_TENANT)
    return named


def _read_user(claims: dict[str, Any], name: str) -> str:
    user = _text(_find(claims, name))
    if name and not user:
        raise Refused(Reason.MISSING_CLAIM)
    return user


def _read_scopes(found: object) -> tuple[str, ...]:
    if found is None:
        return ()
    scopes = found.split(" ") if isinstance(found, str) else found
    if not isinstance(scopes, list) or len(scopes) > _MAX_SCOPES:
        raise Refused(Reason.MALFORMED_CLAIM)
    return tuple(dict.fromkeys(_text(scope) for scope in scopes if scope != ""))


def _find(claims: dict[str, Any], name: str) -> object:
    """The value under a claim's name or JSON Pointer, None when there is none."""
    if not name.startswith("/"):
        return claims.get(name) if name else None
    found: object = claims
    for part in name[1:].split("/"):
        if not isinstance(found, dict):
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found


def _text(found: object) -> str:
    """A short printable text, "" for None. Raises Refused for anything else: it goes into logs and metrics."""
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > _MAX_TEXT or not found.isprintable() or found != found.strip():
        raise Refused(Reason.MALFORMED_CLAIM)
    return found
