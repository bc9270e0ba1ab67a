"""Finding objects: every query of this room begins here, so that none can forget who is asking.

Owns the kinds, the condition of reach, and the chain of owners. Does not change anything. What is out of reach is
missing: whoever asks cannot tell it from what never was.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Select, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.access.principal import Reach
from controlplane.identity.scope import FIELDS, Scope
from controlplane.identity.shapes import TeamView, TenantView, UserView, placement_of
from controlplane.identity.tables import KEYS, TEAMS, TENANTS, USERS
from controlplane.ids import check_id
from controlplane.problem import missing

MICROS: Final = 1_000_000

V = TypeVar("V")


class Kind(Struct, Generic[V], frozen=True):
    """One of the four kinds of objects. child: the table below it."""

    name: str
    table: Table
    view: Callable[[Any], V]
    child: Table | None = None


def scope_of(row: Any) -> Scope:
    """The scope that stands in a row."""
    values = {field: getattr(row, field) for field in FIELDS}
    return msgspec.convert(values, Scope)


def view_fields(row: Any) -> dict[str, Any]:
    """The fields that all views share."""
    shared = {name: getattr(row, name) for name in ("id", "name", "disabled", "owner", "source")}
    moments = {name: getattr(row, name) // MICROS for name in ("created_at", "updated_at")}
    scope = scope_of(row)
    return {field: getattr(scope, field) for field in FIELDS} | shared | moments


def view_tenant(row: Any) -> TenantView:
    """A tenant as the API shows it."""
    said = msgspec.structs.asdict(placement_of(row))
    return TenantView(
        **view_fields(row), currency=row.currency, time_zone=row.time_zone, markup_ppm=row.markup_ppm, **said
    )


def view_team(row: Any) -> TeamView:
    """A team as the API shows it."""
    return TeamView(**view_fields(row), tenant_id=row.tenant_id)


def view_user(row: Any) -> UserView:
    """A user as the API shows it."""
    return UserView(**view_fields(row), tenant_id=row.tenant_id, team_id=row.team_id)


TENANT: Final = Kind("tenant", TENANTS, view_tenant, TEAMS)
TEAM: Final = Kind("team", TEAMS, view_team, USERS)
USER: Final = Kind("user", USERS, view_user, KEYS)
KEY: Final = Kind("key", KEYS, view_fields)
CHAIN: Final[tuple[Kind[Any], ...]] = (TENANT, TEAM, USER, KEY)


def visible(kind: Kind[Any], reach: Reach) -> Select[Any]:
    """A statement that finds the living objects of a kind within reach."""
    return select(kind.table).where(kind.table.c.deleted_at.is_(None), *_within(kind, reach))


async def find(connection: AsyncConnection, kind: Kind[Any], text: str, reach: Reach) -> Any:
    """The row with this id. Raises a 404."""
    statement = visible(kind, reach).where(kind.table.c.id == check_id(text, kind.name))
    row = (await connection.execute(statement)).first()
    if row is None:
        raise missing(kind.name)
    return row


async def owners_scopes(connection: AsyncConnection, kind: Kind[Any], row: Any) -> list[Scope]:
    """The scopes of an object and of all above it, the tenant's first."""
    names = {TENANT.name: "tenant_id", TEAM.name: "team_id", USER.name: "user_id"}
    chain = CHAIN[: CHAIN.index(kind)]
    above = [
        (await connection.execute(select(each.table).where(each.table.c.id == getattr(row, names[each.name])))).one()
        for each in chain
    ]
    return [scope_of(owner) for owner in (*above, row)]


async def count_below(connection: AsyncConnection, kind: Kind[Any], row: Any) -> int:
    """How many living objects an object owns."""
    if kind.child is None:
        return 0
    owned = kind.child.c[f"{kind.name}_id"] == row.id
    statement = select(func.count()).select_from(kind.child).where(owned, kind.child.c.deleted_at.is_(None))
    return int((await connection.execute(statement)).scalar_one())


def _within(kind: Kind[Any], reach: Reach) -> list[ColumnElement[bool]]:
    columns = kind.table.c
    conditions: list[ColumnElement[bool]] = []
    if reach.tenant is not None:
        conditions.append((columns.id if kind is TENANT else columns.tenant_id) == reach.tenant)
    if reach.user is not None and kind is TEAM:
        conditions.append(columns.id == select(USERS.c.team_id).where(USERS.c.id == reach.user).scalar_subquery())
    elif reach.user is not None and kind in (USER, KEY):
        conditions.append((columns.id if kind is USER else columns.user_id) == reach.user)
    return conditions
