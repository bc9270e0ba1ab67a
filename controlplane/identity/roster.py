"""Every key that is good now or will be, with what it may: what a snapshot is compiled from.

Owns the one pass over users and keys, and the effective scope of each: the intersection along its owners. Does not own
the snapshot. Keys come in batches, read at one moment; a batch of 5,000 is the most that is held besides the users.
Keys that are asked for by their ids come alone.
"""

from collections.abc import AsyncIterator, Collection
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import ColumnElement, Executable, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.identity.objects import scope_of
from controlplane.identity.scope import FIELDS, Scope, meet_all
from controlplane.identity.tables import KEY_SECRETS, KEYS, TEAMS, TENANTS, USERS

BATCH: Final = 5000
_ASKED: Final = 500
"""Ids in one statement."""

_OWNERS: Final = (TENANTS, TEAMS, USERS)


class Holder(Struct, frozen=True):
    """A user whose keys are good: neither it nor what is above it is disabled or deleted."""

    tenant: str
    team: str
    user: str
    scope: Scope


class KeySecret(Struct, frozen=True):
    """One secret of one key. Ends are microseconds since 1970, None: never."""

    hash: str  # b2:<pepper id>:<64 hex>
    public_id: str
    key: str
    name: str
    holder: Holder
    scope: Scope  # the key's own, met with its holder's
    ends: int | None  # the earlier of the key's end and the secret's


async def read_holders(connection: AsyncConnection, users: Collection[str] | None = None) -> dict[str, Holder]:
    """All holders, or those among these users, by the id of their user."""
    only = () if users is None else (USERS.c.id.in_(sorted(users)),)
    return {row.users_id: _holder(row) for row in await connection.execute(_holders(*only))}


async def read_secrets(
    connection: AsyncConnection, holders: dict[str, Holder], at: int
) -> AsyncIterator[list[KeySecret]]:
    """All secrets that are good at `at` (microseconds) or will be, in the order of their hashes.

    Run it in the transaction in which the holders were read.
    """
    found = await connection.stream(_secrets(at))
    async for rows in found.partitions(BATCH):
        yield [_secret(row, holders[row.user_id]) for row in rows if row.user_id in holders]


async def read_some(
    connection: AsyncConnection, holders: dict[str, Holder], at: int, keys: Collection[str], users: Collection[str]
) -> list[KeySecret]:
    """As `read_secrets`, of these keys, and of all keys of these users."""
    found: dict[str, KeySecret] = {}
    for column, ids in ((KEYS.c.id, keys), (KEYS.c.user_id, users)):
        asked = sorted(ids)
        for first in range(0, len(asked), _ASKED):
            rows = await connection.execute(_secrets(at, column.in_(asked[first : first + _ASKED])))
            found.update({row.hash: _secret(row, holders[row.user_id]) for row in rows if row.user_id in holders})
    return [found[name] for name in sorted(found)]


def _holders(*only: ColumnElement[bool]) -> Executable:
    joined = USERS.join(TEAMS, TEAMS.c.id == USERS.c.team_id).join(TENANTS, TENANTS.c.id == USERS.c.tenant_id)
    columns: list[Any] = [table.c[name].label(f"{table.name}_{name}") for table in _OWNERS for name in ("id", *FIELDS)]
    good = [table.c.disabled.is_(False) & table.c.deleted_at.is_(None) for table in _OWNERS]
    return select(*columns).select_from(joined).where(*good, *only)


def _secrets(at: int, *only: ColumnElement[bool]) -> Executable:
    joined = KEY_SECRETS.join(KEYS, KEYS.c.id == KEY_SECRETS.c.key_id)
    columns: list[Any] = [KEY_SECRETS.c.hash, KEY_SECRETS.c.public_id, KEY_SECRETS.c.valid_until]
    of_key: tuple[Any, ...] = (
        KEYS.c.id,
        KEYS.c.name,
        KEYS.c.user_id,
        KEYS.c.expires_at,
        *(KEYS.c[field] for field in FIELDS),
    )
    ends = [or_(column.is_(None), column > at) for column in (KEYS.c.expires_at, KEY_SECRETS.c.valid_until)]
    good = (KEYS.c.disabled.is_(False), KEYS.c.deleted_at.is_(None))
    return select(*columns, *of_key).select_from(joined).where(*good, *ends, *only).order_by(KEY_SECRETS.c.hash)


def _holder(row: Any) -> Holder:
    chain = [scope_of(_Prefixed(row, f"{table.name}_")) for table in _OWNERS]
    return Holder(row.tenants_id, row.teams_id, row.users_id, meet_all(chain))


def _secret(row: Any, holder: Holder) -> KeySecret:
    limited = any(getattr(row, field) is not None for field in FIELDS)  # most keys are not: 10 us less for each
    scope = meet_all((holder.scope, scope_of(row))) if limited else holder.scope
    ends = [end for end in (row.expires_at, row.valid_until) if end is not None]
    return KeySecret(row.hash, row.public_id, row.id, row.name, holder, scope, min(ends, default=None))


class _Prefixed:
    """A row seen as one of the tables it was joined from."""

    def __init__(self, row: Any, prefix: str) -> None:
        self._row = row
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, self._prefix + name)
