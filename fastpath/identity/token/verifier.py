"""The hot path: a token in, a proven caller or a refusal out, without waiting for anything.

Owns the order of checks and the memory of tokens that passed. That memory is keyed by BLAKE2b-256 of the whole token,
and what it holds is asked again each time: the times, the revocations, and that the key is still in the issuer's set.
It is forgotten 60 s after the signature was checked, sooner when there are too many. Refusals are not kept: each costs
what it costs, and nobody can fill the memory without valid tokens. One event loop.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from fastpath.identity.token.compact import MAX_TOKEN, Compact, read_claims, split
from fastpath.identity.token.identity import Claims, read_identity
from fastpath.identity.token.jwk import KeySet, PublicKey
from fastpath.identity.token.proof import check_algorithm, prove
from fastpath.identity.token.refusal import Reason, Refusal, Refused
from fastpath.identity.token.trust import TrustedIssuer, problems
from fastpath.identity.token.validity import Window, check_audience, read_window

#: How long a signature's check is remembered, s.
REMEMBERED = 60.0


class Source(Protocol):
    """An issuer and its keys as they are now. `rotation.IssuerKeys` is one."""

    @property
    def trusted(self) -> TrustedIssuer: ...
    @property
    def keys(self) -> KeySet: ...
    def want(self) -> None:
        """A token named a key that is not there. Must not wait."""


class Revocations(msgspec.Struct, frozen=True):
    """What is refused although its signature holds. Issuers by their configured names, replaced as a whole.

    tokens: (issuer, `jti`). users: (issuer, user) -> Unix seconds: tokens issued up to then, or nobody says when, are
    refused.
    """

    tokens: frozenset[tuple[str, str]] = frozenset()
    users: Mapping[tuple[str, str], float] = {}

    def check(self, claims: Claims) -> None:
        """Raises Refused."""
        if (claims.issuer, claims.token_id) in self.tokens:
            raise Refused(Reason.REVOKED)
        until = self.users.get((claims.issuer, claims.user))
        if until is not None and (claims.issued is None or claims.issued <= until):
            raise Refused(Reason.REVOKED)


class Proven(msgspec.Struct, gc=False):
    """A token whose signature was checked. note: what its reader makes of the claims, kept as long as this is."""

    claims: Claims
    window: Window
    key: PublicKey
    source: Source
    checked: float  # Unix seconds
    note: Any = None

    def is_fresh(self, now: float) -> bool:
        """Whether the check still counts: not after its time, not before it (the clock was set back)."""
        return 0 <= now - self.checked < REMEMBERED and self.source.keys.holds(self.key)


class TokenVerifier:
    """Judges tokens of the given issuers. room: tokens remembered, about 0.7 kB each."""

    def __init__(self, sources: Iterable[Source], room: int = 8192) -> None:
        """Raises ValueError, saying what to change, for settings that could not be safe."""
        self._sources: dict[str, Source] = {}
        for source in sources:
            trusted = source.trusted
            wrong = problems(trusted)
            if trusted.issuer in self._sources:
                wrong.append("the issuer is configured twice: give one entry all its audiences")
            if wrong:
                raise ValueError(f"issuer {trusted.name}: {'; '.join(wrong)}")
            self._sources[trusted.issuer] = source
        self._room = room
        self._proven: dict[bytes, Proven] = {}
        self._revocations = Revocations()

    def __len__(self) -> int:
        """Tokens remembered."""
        return len(self._proven)

    def authenticate(self, authorization: bytes | None, now: float) -> Claims | Refusal | None:
        """Judges the value of an `Authorization` header. None: it holds no token, so it may be a key.

        now: Unix seconds, of a clock that does not step (`steady`). Keys of ours have no dot and tokens always do.
        """
        scheme, _, rest = (authorization or b"").strip(b" \t").partition(b" ")
        token = rest.strip(b" \t")
        if b"." not in token or scheme.lower() != b"bearer":
            return None
        return self.verify(token, now)

    def verify(self, token: bytes, now: float) -> Claims | Refusal:
        """The caller that a token proves, or why it proves none. now: Unix seconds."""
        found = self.find(token, now)
        return found if isinstance(found, Refusal) else found.claims

    def find(self, token: bytes, now: float) -> Proven | Refusal:
        """The same with the memory's entry, which is the same object as long as the token is remembered."""
        if len(token) > MAX_TOKEN:
            return Refusal(Reason.TOO_LONG)
        digest = hashlib.blake2b(token, digest_size=32).digest()
        proven = self._proven.get(digest)
        if proven is None or not proven.is_fresh(now):
            found = self._prove(token, now)
            if isinstance(found, Refusal):
                self._proven.pop(digest, None)
                return found
            proven = self._remember(digest, found)
        try:
            proven.window.check(now)
            self._revocations.check(proven.claims)
        except Refused as refused:
            return Refusal(refused.reason, proven.claims.issuer)
        return proven

    def revoke(self, revocations: Revocations) -> None:
        """Takes effect with the next `verify`, remembered or not. Replaces what was given before."""
        self._revocations = revocations

    def _prove(self, token: bytes, now: float) -> Proven | Refusal:
        name = ""
        try:
            compact = split(token)
            claims = read_claims(compact)
            source = self._source(claims.get("iss"))
            name = source.trusted.name
            return _check(compact, claims, source, now)
        except Refused as refused:
            return Refusal(refused.reason, name)

    def _source(self, issuer: object) -> Source:
        source = self._sources.get(issuer) if isinstance(issuer, str) else None
        if source is None:
            raise Refused(Reason.MISSING_CLAIM if issuer is None else Reason.UNKNOWN_ISSUER)
        return source

    def _remember(self, digest: bytes, proven: Proven) -> Proven:
        self._proven.pop(digest, None)  # so that it moves to the end
        while len(self._proven) >= self._room:
            del self._proven[next(iter(self._proven))]
        self._proven[digest] = proven
        return proven


def _check(compact: Compact, claims: dict[str, Any], source: Source, now: float) -> Proven:
    """Everything about one token of a known issuer, cheap checks first. Raises Refused."""
    trusted = source.trusted
    check_algorithm(compact.algorithm, trusted)
    check_audience(claims, trusted.audience)
    window = read_window(claims, trusted.leeway)
    window.check(now)
    if "cnf" in claims:  # bound to a key that its sender must prove (RFC 7800); as a bearer's it would be stolen
        raise Refused(Reason.SENDER_CONSTRAINED)
    try:
        key = prove(compact, source.keys)
    except Refused as refused:
        if refused.reason in (Reason.UNKNOWN_KEY, Reason.NO_KEYS):
            source.want()
        raise
    identity = read_identity(claims, trusted, window.issued, window.expires)
    return Proven(identity, window, key, source, now)
