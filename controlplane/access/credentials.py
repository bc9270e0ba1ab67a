"""From the token that a request presents to the principal it speaks for.

Owns the one lookup: by keyed hash, bound as a parameter, whatever was presented. Does not own admin keys' lives
(`admin_keys`), nor tokens of identity providers, which have a dot (`visitors`). A key is good only while its tenant and
its user live and are enabled.
"""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Executable, and_, select

from controlplane.access.principal import Principal
from controlplane.access.roles import Role
from controlplane.access.tables import ADMIN_KEYS
from controlplane.access.visitors import Visitors
from controlplane.identity.tables import TEAMS, TENANTS, USERS
from controlplane.problem import unauthenticated
from controlplane.store.database import Database
from controlplane.store.metadata import micros
from fastpath.settings.token import MAX_TOKEN, KeyHasher

MICROS: Final = 1_000_000


class Credentials:
    """Finds principals. now: Unix seconds. visitors: None where no issuer of tokens is believed."""

    def __init__(
        self, database: Database, hasher: KeyHasher, now: Callable[[], float], visitors: Visitors | None = None
    ) -> None:
        self._visitors = visitors
        self._database = database
        self._hasher = hasher
        self._now = now

    async def find(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` header. Raises a 401 that does not say what is wrong with it.

        Of a token also a 403, when it is good and gives no role here, and a 503 while its issuer's keys are unknown.
        """
        if self._visitors is not None and authorization is not None and "." in authorization:
            return await self._visitors.find(authorization)
        token = bearer(authorization)
        async with self._database.read() as connection:
            row = (await connection.execute(_lookup(self._hasher.hash_bytes(token)))).first()
        if not token or row is None or not _good(row, micros(self._now())):
            raise unauthenticated()
        return _principal(row)


def bearer(authorization: str | None) -> bytes:
    """The token of `Bearer <token>` (scheme in any letter case); empty when there is none or it is too long."""
    scheme, _, rest = (authorization or "").strip(" \t").partition(" ")
    token = rest.strip(" \t").encode("latin-1", "replace")
    return token if scheme.lower() == "bearer" and len(token) <= MAX_TOKEN else b""


def _lookup(hashed: str) -> Executable:
    keys = ADMIN_KEYS
    joined = keys.outerjoin(TENANTS, TENANTS.c.id == keys.c.tenant_id)
    joined = joined.outerjoin(USERS, and_(USERS.c.id == keys.c.user_id, USERS.c.tenant_id == keys.c.tenant_id))
    joined = joined.outerjoin(TEAMS, TEAMS.c.id == USERS.c.team_id)
    columns = [keys.c[name] for name in ("id", "name", "role", "tenant_id", "user_id", "disabled", "expires_at")]
    above = [
        column.label(f"{table.name}_{column.name}")
        for table in (TENANTS, TEAMS, USERS)
        for column in (table.c.id, table.c.disabled, table.c.deleted_at)
    ]
    return select(*columns, *above).select_from(joined).where(keys.c.hash == hashed)


def _good(row: Any, at: int) -> bool:
    """Whether the key may be used at this moment (microseconds)."""
    if row.disabled or (row.expires_at is not None and row.expires_at <= at):
        return False
    tenant = row.tenant_id is None or _alive(row, "tenants")
    return tenant and (row.user_id is None or (_alive(row, "users") and _alive(row, "teams")))


def _alive(row: Any, table: str) -> bool:
    there = getattr(row, f"{table}_id") is not None and getattr(row, f"{table}_deleted_at") is None
    return there and not getattr(row, f"{table}_disabled")


def _principal(row: Any) -> Principal:
    return Principal(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        tenant=row.tenant_id,
        team=row.teams_id,
        user=row.user_id,
        expires_at=None if row.expires_at is None else row.expires_at // MICROS,
    )
