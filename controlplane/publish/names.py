"""Whom keys belong to, as the data plane knows them: the tenants of the admin API, with their teams and users.

Owns what is published of each, and the order in which they stand. Does not own tenants of the settings file. Keeps
nothing.
"""

from collections.abc import Set
from typing import Any

from msgspec import Struct, ValidationError, convert
from msgspec.structs import replace
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.identity.scope import ANY
from controlplane.identity.shapes import placement_of
from controlplane.identity.tables import TEAMS, TENANTS, USERS
from fastpath.settings import DataClass, Residency, Team, Tenant, User
from fastpath.settings.syntax import check_label
from fastpath.settings.tenancy import Ppm, TokenScope


class Names(Struct, frozen=True):
    """Published objects by their id: tenants whole, and who is below them, in the order in which they stand there."""

    tenants: dict[str, Tenant]
    teams: dict[str, list[str]]
    users: dict[str, list[str]]
    said: tuple[str, ...] = ()  # of damaged rows


async def read_names(connection: AsyncConnection) -> Names:
    """All that are published."""
    teams, users = await _read_kept(connection, TEAMS), await _read_kept(connection, USERS)
    team_names = {team.id: team.name for team in teams}
    below: dict[str, tuple[list[Team], list[User]]] = {}
    tenants = [row for row in await _read_kept(connection, TENANTS) if row.owner == "api" and not row.disabled]
    said = tuple(sentence for row in tenants if (sentence := _odd_markup(row)))
    found = Names({}, {row.id: [] for row in tenants}, {row.id: [] for row in tenants}, said)
    for row in tenants:
        below[row.id] = [], []
    for team in teams:
        if team.tenant_id in below:
            made = Team(name=team.name, id=team.id, token_models=_token_models(team), token_scope=_token_scope(team))
            below[team.tenant_id][0].append(made)
            found.teams[team.tenant_id].append(team.id)
    for user in users:
        if user.tenant_id in below and user.team_id in team_names:
            below[user.tenant_id][1].append(_user(user, team_names[user.team_id]))
            found.users[user.tenant_id].append(user.id)
    found.tenants.update({row.id: _tenant(row, *below[row.id]) for row in tenants})
    return found


async def read_users(connection: AsyncConnection, before: Names, users: Set[str]) -> Names:
    """As `before`, with these users as they are now. New ones stand last: in the order in which they were made."""
    statement = select(USERS, TEAMS.c.name.label("team_name")).join(TEAMS, TEAMS.c.id == USERS.c.team_id)
    kept = statement.where(USERS.c.id.in_(sorted(users)), USERS.c.deleted_at.is_(None), TEAMS.c.deleted_at.is_(None))
    rows = await connection.execute(kept.order_by(USERS.c.created_at, USERS.c.id))
    now: dict[str, dict[str, User]] = {}
    for row in rows:
        now.setdefault(row.tenant_id, {})[row.id] = _user(row, row.team_name)
    tenants, below = dict(before.tenants), dict(before.users)
    for tenant, ids in before.users.items():
        changed = now.get(tenant, {})
        if changed or not users.isdisjoint(ids):
            listed = {user.id: user for user in tenants[tenant].users if user.id in changed or user.id not in users}
            listed.update(changed)
            tenants[tenant] = replace(tenants[tenant], users=tuple(listed.values()))
            below[tenant] = list(listed)
    return Names(tenants, before.teams, below, before.said)


def fit(label: str, otherwise: str) -> str:
    """The label, or what stands for one that settings could not have."""
    return label if check_label(label) is None else otherwise


async def _read_kept(connection: AsyncConnection, table: Table) -> list[Any]:
    """All that were not deleted, disabled ones among them: a token may name those, and is to find them closed.

    In the order in which they were made, so that what is published changes only where something changed.
    """
    kept = select(table).where(table.c.deleted_at.is_(None))
    return list(await connection.execute(kept.order_by(table.c.created_at, table.c.id)))


def _user(row: Any, team: str) -> User:
    name = fit(f"{team}/{row.name}", row.id)
    return User(name=name, team=team, id=row.id, token_models=_token_models(row), token_scope=_token_scope(row))


def _token_models(row: Any) -> tuple[str, ...]:
    """What tokens of identity providers may use for it: none where it is disabled, or may be used for nothing."""
    if row.disabled or row.paths == [] or row.networks == []:
        return ()
    return (ANY,) if row.models is None else tuple(row.models)


def _token_scope(row: Any) -> TokenScope | None:
    """What else limits tokens that are used for it, None when nothing does."""
    paths = tuple(row.paths) if row.paths and ANY not in row.paths else None
    networks = tuple(row.networks) if row.networks else None
    if paths is None and networks is None and row.data_class is None:
        return None
    return TokenScope(paths=paths, networks=networks, data_class=row.data_class)


def _tenant(row: Any, teams: list[Team], users: list[User]) -> Tenant:
    data_class, residency = _placement(row)
    return Tenant(
        name=row.name,
        id=row.id,
        time_zone=row.time_zone,
        currency=row.currency,
        markup_ppm=_markup(row),
        data_class=data_class,
        residency=residency,
        token_models=_token_models(row),
        token_scope=_token_scope(row),
        teams=tuple(teams),
        users=tuple(users),
    )


def _markup(row: Any) -> int | None:
    """What is added to prices for a tenant; of a damaged row what models say, as for one that says nothing."""
    return None if _odd_markup(row) else row.markup_ppm


def _odd_markup(row: Any) -> str:
    """What is said of a damaged row; "" when it is good."""
    try:
        convert(row.markup_ppm, Ppm | None)
    except ValidationError as error:
        return f"tenant {row.name} ({row.id}) pays by its models' markup, its own is damaged ({error}): write it anew"
    return ""


def _placement(row: Any) -> tuple[DataClass | None, Residency | None]:
    """What class a tenant's data is of and where it may go; of a damaged row: the strictest, and nowhere far."""
    try:
        said = placement_of(row)
    except ValidationError:
        return "P0", Residency(tiers=("L0", "L1"))
    if said.residency_tiers is None and said.residency_regions is None:
        return said.default_class, None
    return said.default_class, Residency(tiers=said.residency_tiers, regions=said.residency_regions)
