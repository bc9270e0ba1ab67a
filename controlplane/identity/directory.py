"""Tenants, teams and users: listed, made, edited, deleted.

Owns what each kind needs besides what all share (`objects`, `changes`). Keys are in `keys`. Every method takes who asks
and raises a Problem. Any number of tasks may use one.
"""

from typing import Any

import msgspec

from controlplane.access.grants import check_scope_grant
from controlplane.access.principal import Principal
from controlplane.audit.trail import Change, Trail
from controlplane.identity.changes import (
    bury,
    check_time_zone,
    edit,
    first_values,
    subject_of,
    write_new,
)
from controlplane.identity.objects import (
    TEAM,
    TENANT,
    USER,
    Kind,
    V,
    find,
    owners_scopes,
    visible,
)
from controlplane.identity.scope import meet_all
from controlplane.identity.shapes import (
    PLACEMENT,
    Draft,
    TeamDraft,
    TeamView,
    TenantDraft,
    TenantView,
    UserDraft,
    UserView,
)
from controlplane.ids import check_id
from controlplane.paging import Listing, Page, cut, next_of
from controlplane.store.database import Database


class Above(msgspec.Struct, frozen=True):
    """Whose objects are listed; None: all within reach."""

    tenant_id: str | None = None
    team_id: str | None = None
    user_id: str | None = None


class Directory:
    """The tree of tenants, teams and users."""

    def __init__(self, database: Database, trail: Trail) -> None:
        self._database = database
        self._trail = trail

    async def list(self, kind: Kind[V], who: Principal, above: Above, page: Page) -> Listing[V]:
        """One page of what `who` sees."""
        statement = visible(kind, who.reach)
        for column, wanted in msgspec.structs.asdict(above).items():
            if wanted is not None:
                statement = statement.where(kind.table.c[column] == check_id(wanted, column.removesuffix("_id")))
        async with self._database.read() as connection:
            rows = list(await connection.execute(cut(statement, kind.table, page)))
        return Listing(data=[_shown(kind.view(row), who) for row in rows[: page.limit]], next=next_of(rows, page))

    async def get(self, kind: Kind[V], who: Principal, text: str) -> V:
        """One object."""
        async with self._database.read() as connection:
            return _shown(kind.view(await find(connection, kind, text, who.reach)), who)

    async def create_tenant(self, who: Principal, draft: TenantDraft) -> TenantView:
        """A new tenant, with any scope: nothing is above it."""
        check_time_zone(draft.time_zone)
        async with self._trail.change(who.actor) as change:
            values = first_values(draft, change.at) | {"currency": draft.currency, "time_zone": draft.time_zone}
            values |= {field: getattr(draft, field) for field in (*PLACEMENT, "markup_ppm")}
            return await self._create(change, TENANT, who, values)

    async def create_team(self, who: Principal, draft: TeamDraft) -> TeamView:
        """A new team in a tenant."""
        async with self._trail.change(who.actor) as change:
            tenant = await find(change.connection, TENANT, draft.tenant_id, who.reach)
            await _check_draft(change, TENANT, tenant, who, draft)
            values = first_values(draft, change.at) | {"tenant_id": tenant.id}
            return await self._create(change, TEAM, who, values)

    async def create_user(self, who: Principal, draft: UserDraft) -> UserView:
        """A new user in a team."""
        async with self._trail.change(who.actor) as change:
            team = await find(change.connection, TEAM, draft.team_id, who.reach)
            await _check_draft(change, TEAM, team, who, draft)
            values = first_values(draft, change.at) | {"tenant_id": team.tenant_id, "team_id": team.id}
            return await self._create(change, USER, who, values)

    async def edit(self, kind: Kind[V], who: Principal, text: str, edits: msgspec.Struct) -> V:
        """Changes the fields that were sent."""
        async with self._trail.change(who.actor) as change:
            row = await find(change.connection, kind, text, who.reach)
            await edit(change, kind, row, who, edits)
            return _shown(kind.view(await find(change.connection, kind, text, who.reach)), who)

    async def delete(self, kind: Kind[Any], who: Principal, text: str) -> None:
        """Deletes an object that owns nothing any more."""
        async with self._trail.change(who.actor) as change:
            row = await find(change.connection, kind, text, who.reach)
            await bury(change, kind, row, kind.view(row))

    async def _create(self, change: Change, kind: Kind[V], who: Principal, values: dict[str, Any]) -> V:
        await write_new(change.connection, kind.table, values)
        row = await find(change.connection, kind, values["id"], who.reach)
        view = kind.view(row)
        await change.record(f"{kind.name}.create", subject_of(kind, row), None, view)
        return view


def _shown(view: V, who: Principal) -> V:
    """As `who` may see it: what a tenant pays is settled between others, like the prices of models."""
    if isinstance(view, TenantView) and who.role.in_tenant:
        return msgspec.structs.replace(view, markup_ppm=msgspec.UNSET)
    return view


async def _check_draft(change: Change, above: Kind[Any], row: Any, who: Principal, draft: Draft) -> None:
    """Raises a 403 when a new object would be wider than what is above it."""
    check_scope_grant(who, meet_all(await owners_scopes(change.connection, above, row)), draft.scope)
