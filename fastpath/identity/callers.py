"""Callers who come with a token of an identity provider: from its claims to what a key is elsewhere.

Owns the mapping of claims to tenant, team, user, models and limits under one snapshot, and what a refusal is called.
Does not own what a token proves (`token.verifier`), when keys are fetched (`token.issuers`) or how a caller is held to
its limits (`scope`). Whom a token stands for is kept with the token: asking again costs a hash of it. One event loop.
"""

from collections.abc import Callable, Iterable
from typing import Final

from fastpath import errors
from fastpath.errors import GatewayError
from fastpath.identity.scope import Terms
from fastpath.identity.token.identity import Claims, shorten
from fastpath.identity.token.issuers import Issuers
from fastpath.identity.token.refusal import Reason, Refusal
from fastpath.identity.token.verifier import Proven
from fastpath.settings import Issuer, Key, Settings, Team, Tenant, User

#: Scopes that name a model: `models:llama`.
SCOPE: Final = "models:"
ALL: Final = "*"

Count = Callable[[str, str], None]
"""Told of each refusal: the issuer's name, "" when it is not known, and the reason."""


class Bearer(Key, frozen=True, kw_only=True):
    """A caller that a token stands for. terms: what limits it, and until when its token is good."""

    terms: Terms


class Home:
    """One tenant with its teams and users by name."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.teams = {team.name: team for team in tenant.teams}
        self._users = {user.name: user for user in tenant.users}

    def user(self, name: str, team: str) -> User | None:
        """The user of this name. The control plane calls its own `team/name`: of several, the one of the team."""
        for full in (name, f"{team}/{name}", *(f"{other}/{name}" for other in self.teams)):
            user = self._users.get(full)
            if user is not None:
                return user
        return None

    def team(self, name: str, user: User | None) -> Team | None:
        """The team of this name, else the user's."""
        return self.teams.get(name) or self.teams.get(user.team or "" if user is not None else "")


class Callers:
    """Finds the caller behind a token. version: the snapshot's: what older ones made of a token is not used."""

    def __init__(self, issuers: Issuers, settings: Settings, version: int, count: Count) -> None:
        self.now = issuers.now  # by which tokens end
        self._issuers = issuers
        self._verifier = issuers.verifier
        self._trusted = {issuer.name: issuer for issuer in settings.issuers}
        self._tenants = {tenant.name: tenant for tenant in settings.tenants}
        self._homes: dict[str, Home] = {}
        self._version = version
        self._count = count

    @property
    def losses(self) -> int:
        """As of `Issuers`."""
        return self._issuers.losses

    def find(self, authorization: bytes, request: str) -> Bearer | None:
        """The caller behind the value of an `Authorization` header, as a key; None: it holds nothing like a token.

        request: its id, for the log. Raises 401 for a token that is refused, 403 for a tenant or user that is not
        known here, 503 while the issuer's keys are not known.
        """
        scheme, _, rest = authorization.strip(b" \t").partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        found = self._verifier.find(rest.strip(b" \t"), self._issuers.now())
        if isinstance(found, Refusal):
            self._refuse(found, request)
            return None
        if found.note is not None and found.note[0] == self._version:
            key: Bearer = found.note[1]
            return key
        key = self._admit(found)
        found.note = (self._version, key)
        return key

    def _admit(self, proven: Proven) -> Bearer:
        claims = proven.claims
        issuer = self._trusted[claims.issuer]
        home = self._home(claims.tenant) if claims.tenant else None
        user = home.user(claims.principal, claims.team) if home is not None and claims.user else None
        if user is None and issuer.members == "listed":
            raise errors.forbidden(_NOT_LISTED)
        team = home.team(claims.team, user) if home is not None else None
        tenant = home.tenant if home is not None else None
        above = [owner for owner in (tenant, team, user) if owner is not None]
        scopes = [owner.token_scope for owner in above if owner.token_scope is not None]
        return Bearer(
            name=claims.principal,
            hash="",  # nobody presents it: it is in no table of keys
            models=_models(issuer, claims, above),
            terms=Terms([issuer, *scopes], proven.window.end),
            tenant=claims.tenant or None,
            # Only those that the settings know: whoever they do not know has the limits of all such, and one plan.
            team=team.name if team is not None else None,
            user=user.name if user is not None else None,
            ids=(
                _id_of(tenant, claims.tenant),
                _id_of(team, claims.team),
                _id_of(user, claims.principal if claims.user else ""),
                claims.principal,
            ),
        )

    def _home(self, name: str) -> Home:
        home = self._homes.get(name)
        if home is None:
            tenant = self._tenants.get(name)
            if tenant is None:
                raise errors.forbidden(_NO_TENANT)
            home = self._homes[name] = Home(tenant)
        return home

    def _refuse(self, refusal: Refusal, request: str) -> None:
        """Raises, but for what is nothing like a token."""
        self._count(refusal.issuer, refusal.reason)
        if refusal.reason is Reason.MALFORMED and not refusal.issuer:
            return
        self._issuers.note(refusal, f"request {request}")
        raise self._error_of(refusal)

    def _error_of(self, refusal: Refusal) -> GatewayError:
        if refusal.reason is Reason.EXPIRED:
            return errors.token_expired()
        if refusal.reason is Reason.NO_KEYS:
            return errors.overloaded(_NO_KEYS, self._issuers.due_in(refusal.issuer))
        if refusal.reason is Reason.UNKNOWN_KEY and self._issuers.renewing(refusal.issuer):
            return errors.overloaded(_NO_KEYS)
        return errors.unauthenticated(refusal.message)


def _models(issuer: Issuer, claims: Claims, above: Iterable[Tenant | Team | User]) -> tuple[str, ...]:
    """What the scopes name, else what the issuer has for all; of it what tenant, team and user may."""
    named = tuple(scope.removeprefix(SCOPE) for scope in claims.scopes if scope.startswith(SCOPE))
    found = named or issuer.models
    for owner in above:
        found = _meet(found, owner.token_models)
    return found


def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    if ALL in other:
        return one
    return other if ALL in one else tuple(name for name in one if name in other)


def _id_of(owner: Tenant | Team | User | None, name: str) -> str:
    """What bills call it."""
    return shorten(name) if owner is None else owner.id or owner.name


_NO_TENANT = "The tenant that the token names is not known here: ask the operator of this gateway to add it."
_NOT_LISTED = "The user that the token names is not listed here: ask the operator of this gateway to add it."
_NO_KEYS = "The keys that prove this token are not here yet. Try again shortly."
