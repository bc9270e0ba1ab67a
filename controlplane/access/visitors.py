"""Administrators who come with a token of an identity provider: from its claims to a principal.

Owns the roles that scopes grant, and where in the database a role is held. Does not own what a token proves
(`fastpath.identity.token`) or what a role may do (`roles`). Nothing is stored: whoever the provider vouches for is let
in, for the time of one request, and the audit trail names the user as `<issuer>:<user>`. One event loop.
"""

import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, false, select

from controlplane.access.principal import Principal
from controlplane.access.roles import Role
from controlplane.identity.tables import TEAMS, TENANTS, USERS
from controlplane.problem import Problem, forbidden, token_expired, unauthenticated
from controlplane.store.database import Database
from fastpath.settings.issuers import AdminIssuer, Grant

if TYPE_CHECKING:
    from fastpath.identity.token.identity import Claims
    from fastpath.identity.token.issuers import Issuers
    from fastpath.identity.token.refusal import Refusal

_LOG: Final = logging.getLogger(__name__)


class Visitors:
    """Finds the principal behind a token of `issuers`, which believes `trusted`."""

    def __init__(self, issuers: "Issuers", trusted: Sequence[AdminIssuer], database: Database) -> None:
        self._issuers = issuers
        self._trusted = {one.name: one for one in trusted}
        self._database = database

    async def find(self, authorization: str) -> Principal:
        """The principal of an `Authorization` header. Raises a 401, 403 or 503."""
        claims = self._prove(authorization)
        grant = next((one for one in self._trusted[claims.issuer].grants if one.scope in claims.scopes), None)
        if grant is None:
            raise forbidden("Your token gives you no role here: see `control.issuers` in the settings.", "no_role")
        return await self._place(claims, grant)

    def _prove(self, authorization: str) -> "Claims":
        from fastpath.identity.token.refusal import Refusal

        header = authorization.encode("latin-1", "replace")
        found = self._issuers.verifier.authenticate(header, self._issuers.now())
        if found is None:
            raise unauthenticated()
        if isinstance(found, Refusal):
            self._issuers.note(found, "a request of the admin API")
            raise self._problem_of(found)
        return found

    def _problem_of(self, refusal: "Refusal") -> Problem:
        from fastpath.identity.token.refusal import Reason

        unknown = refusal.reason is Reason.UNKNOWN_KEY and self._issuers.renewing(refusal.issuer)
        if refusal.reason is Reason.NO_KEYS or unknown:
            return Problem(503, "keys_unknown", "The keys that prove this token are not here yet. Try again shortly.")
        return token_expired() if refusal.reason is Reason.EXPIRED else unauthenticated()

    async def _place(self, claims: "Claims", grant: Grant) -> Principal:
        role = Role(grant.role)
        if not role.in_tenant:
            return _principal(claims, role)
        name = grant.tenant or claims.tenant
        async with self._database.read() as connection:
            row = (await connection.execute(_lookup(name, claims))).first()
        if row is None:
            raise forbidden("The tenant that your token stands for is not known here, or disabled.", "no_tenant")
        if role is Role.TENANT_ADMIN:
            return _principal(claims, role, row.id)
        if row.user_id is None:
            raise forbidden(f"No user of your tenant is called {claims.principal} and enabled.", "no_user")
        return _principal(claims, role, row.id, row.team_id, row.user_id)


def _lookup(tenant: str, claims: "Claims") -> Any:
    """The tenant of this name, with its user of the principal's name; of several teams', the one of the token's."""
    alive = [table.c[column] for table in (TEAMS, USERS) for column in ("deleted_at", "disabled")]
    good = [column.is_(None) if column.name == "deleted_at" else column.is_(False) for column in alive]
    users = USERS.join(TEAMS, and_(TEAMS.c.id == USERS.c.team_id, *good[:2]))
    is_user = USERS.c.name == claims.principal if claims.user else false()
    joined = TENANTS.outerjoin(users, and_(USERS.c.tenant_id == TENANTS.c.id, is_user, *good[2:]))
    wanted = select(TENANTS.c.id, USERS.c.id.label("user_id"), USERS.c.team_id).select_from(joined)
    living = (TENANTS.c.name == tenant, TENANTS.c.deleted_at.is_(None), TENANTS.c.disabled.is_(False))
    return wanted.where(*living).order_by((TEAMS.c.name == claims.team).desc(), USERS.c.created_at).limit(1)


def _principal(
    claims: "Claims", role: Role, tenant: str | None = None, team: str | None = None, user: str | None = None
) -> Principal:
    """`expires_at` is an admin key's: what a person makes may outlive the hour that a token has."""
    digest = hashlib.blake2b(f"{claims.issuer}:{claims.user}".encode(), digest_size=16, person=b"principal")
    return Principal(digest.hexdigest(), claims.principal, role, tenant, team, user)


@asynccontextmanager
async def open_visitors(
    trusted: Sequence[AdminIssuer], database: Database, now: Callable[[], float]
) -> AsyncIterator[Visitors | None]:
    """Believes these issuers while the block runs; None where there are none. now: Unix seconds.

    Raises ValueError, which says what to change.
    """
    if not trusted:
        yield None
        return
    from fastpath.identity.token.fetch import resolve_by_system  # cryptography, for those who configured issuers
    from fastpath.identity.token.issuers import Issuers

    issuers = Issuers(time.monotonic, now, resolve_by_system, lambda line: _LOG.warning("%s", line))
    issuers.use(trusted)
    try:
        yield Visitors(issuers, trusted, database)
    finally:
        await issuers.close()
