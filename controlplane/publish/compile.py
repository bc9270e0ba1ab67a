"""From the database to a publication: what the admin API has of tenants, keys, policies and models, for the data plane.

Owns the names that the data plane knows them by, the places that rows point at, and which keys are held back. Does not
own the rows' layout (`_native.keytable`). Reads in one transaction, keeps nothing.
"""

from typing import Any, Final

from msgspec import Struct, ValidationError
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from _native.keytable import Row
from controlplane.identity.roster import KeySecret, read_holders, read_secrets
from controlplane.identity.scope import ANY, Scope
from controlplane.identity.shapes import placement_of
from controlplane.identity.tables import TEAMS, TENANTS, USERS
from controlplane.policies.policies import policy_of
from controlplane.policies.tables import POLICIES
from controlplane.registry.published import Reveal, read_registry, reveal_nothing
from fastpath.settings import DataClass, Policy, Residency, Team, Tenant, User
from fastpath.settings.roster import Grant, Roster, encode_roster
from fastpath.settings.syntax import check_label
from fastpath.settings.tenancy import TokenScope

_MILLI: Final = 1000
"""Microseconds, as the database has times, per millisecond, as rows have them."""
_CLASSES: Final = ("P0", "P1", "P2")
"""By their number in rows."""


class Compiled(Struct, frozen=True):
    """`roster`: as `encode_roster`; `rows` point into it, at `places`. `held_back`: a sentence each."""

    roster: bytes
    rows: tuple[Row, ...]
    places: "Places"
    held_back: tuple[str, ...]


async def compile_all(
    connection: AsyncConnection, at: int, pepper_id: str, reveal: Reveal = reveal_nothing
) -> Compiled:
    """Everything that is good at `at` (microseconds) or will be. `pepper_id`: under which this node hashes keys.
    reveal: opens keys of endpoints. Raises SealError when it cannot."""
    names = await _read_names(connection)
    holders = await read_holders(connection)
    secrets = [secret async for batch in read_secrets(connection, holders, at) for secret in batch]
    held_back = {secret.hash: reason for secret in secrets if (reason := _hold_back(secret, names, pepper_id))}
    places = _places(names)
    rows = tuple(_row(secret, places) for secret in secrets if secret.hash not in held_back)
    policies, silent = await _read_policies(connection, names)
    models, damaged = await read_registry(connection, reveal)
    roster = Roster(
        tenants=tuple(names.tenants.values()),
        tenant_ids=tuple(places.tenants),
        team_ids=tuple(places.teams),
        user_ids=tuple(places.users),
        grants=tuple(_grant(scope) for scope in places.grants),
        policies=policies,
        models=models,
    )
    return Compiled(encode_roster(roster), rows, places, tuple(sorted({*held_back.values(), *silent, *damaged})))


class Names(Struct, frozen=True):
    """Published objects by their id: tenants whole, and who is below them, in the order in which they stand there."""

    tenants: dict[str, Tenant]
    teams: dict[str, list[str]]
    users: dict[str, list[str]]


class Places(Struct, frozen=True):
    """Where everything stands that rows point at: by id, and grants by the scope that they are made of."""

    tenants: dict[str, int]
    teams: dict[str, int]
    users: dict[str, int]
    grants: dict[Scope, int]


async def _read_names(connection: AsyncConnection) -> Names:
    teams, users = await _read_kept(connection, TEAMS), await _read_kept(connection, USERS)
    team_names = {team.id: team.name for team in teams}
    below: dict[str, tuple[list[Team], list[User]]] = {}
    tenants = [row for row in await _read_kept(connection, TENANTS) if row.owner == "api" and not row.disabled]
    found = Names({}, {row.id: [] for row in tenants}, {row.id: [] for row in tenants})
    for row in tenants:
        below[row.id] = [], []
    for team in teams:
        if team.tenant_id in below:
            made = Team(name=team.name, id=team.id, token_models=_token_models(team), token_scope=_token_scope(team))
            below[team.tenant_id][0].append(made)
            found.teams[team.tenant_id].append(team.id)
    for user in users:
        if user.tenant_id in below and user.team_id in team_names:
            team_name = team_names[user.team_id]
            name = _fit(f"{team_name}/{user.name}", user.id)
            models, scope = _token_models(user), _token_scope(user)
            listed = User(name=name, team=team_name, id=user.id, token_models=models, token_scope=scope)
            below[user.tenant_id][1].append(listed)
            found.users[user.tenant_id].append(user.id)
    found.tenants.update({row.id: _tenant(row, *below[row.id]) for row in tenants})
    return found


def _places(names: Names) -> Places:
    """Of all but the grants, which are added as rows need them."""
    teams = [team for tenant in names.tenants for team in names.teams[tenant]]
    users = [user for tenant in names.tenants for user in names.users[tenant]]
    return Places(_number(list(names.tenants)), _number(teams), _number(users), {})


def _number(ids: list[str]) -> dict[str, int]:
    return {each: place for place, each in enumerate(ids)}


async def _read_policies(connection: AsyncConnection, names: Names) -> tuple[tuple[Policy, ...], list[str]]:
    """The rules that are switched on, in the order in which they were made, and what is to be said of others."""
    statement = select(POLICIES, TENANTS.c.owner).outerjoin(TENANTS, TENANTS.c.id == POLICIES.c.tenant_id)
    on = statement.where(POLICIES.c.disabled.is_(False)).order_by(POLICIES.c.created_at, POLICIES.c.id)
    found: list[Policy] = []
    said: list[str] = []
    for row in await connection.execute(on):
        tenant = names.tenants.get(row.tenant_id or "")
        label = row.name if tenant is None else _fit(f"{tenant.name}/{row.name}", f"policy:{row.id}")
        if row.tenant_id is not None and tenant is None:
            if row.owner == "file":
                said.append(f"policy {row.name} ({row.id}) is of a tenant of the settings file: keep it there, too")
            continue
        try:
            found.append(policy_of(row, label, tenant.name if tenant is not None else None))
        except ValidationError as error:
            said.append(f"policy {row.name} ({row.id}) is not in force, its row is damaged ({error}): write it anew")
    return tuple(found), said


async def _read_kept(connection: AsyncConnection, table: Table) -> list[Any]:
    """All that were not deleted, disabled ones among them: a token may name those, and is to find them closed.

    In the order in which they were made, so that what is published changes only where something changed.
    """
    kept = select(table).where(table.c.deleted_at.is_(None))
    return list(await connection.execute(kept.order_by(table.c.created_at, table.c.id)))


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
        data_class=data_class,
        residency=residency,
        token_models=_token_models(row),
        token_scope=_token_scope(row),
        teams=tuple(teams),
        users=tuple(users),
    )


def _placement(row: Any) -> tuple[DataClass | None, Residency | None]:
    """What class a tenant's data is of and where it may go; of a damaged row: the strictest, and nowhere far."""
    try:
        said = placement_of(row)
    except ValidationError:
        return "P0", Residency(tiers=("L0", "L1"))
    if said.residency_tiers is None and said.residency_regions is None:
        return said.default_class, None
    return said.default_class, Residency(tiers=said.residency_tiers, regions=said.residency_regions)


def _hold_back(secret: KeySecret, names: Names, pepper_id: str) -> str:
    """Why a key is not published; "" when it is."""
    reason = ""
    if secret.holder.tenant not in names.tenants:
        reason = "belongs to a tenant of the settings file: keep it there, too"
    elif secret.hash[3:11] != pepper_id:
        reason = "was made under another pepper than this state folder's: rotate it here"
    elif secret.scope.models == ():
        reason = "may use no model: its owners leave it none"
    return reason and f"key {secret.name} ({secret.key}) {reason}"


def _fit(label: str, otherwise: str) -> str:
    return label if check_label(label) is None else otherwise


def _grant(scope: Scope) -> Grant:
    paths = None if scope.paths is not None and ANY in scope.paths else scope.paths
    models = scope.models if scope.models is not None else (ANY,)
    return Grant(models, paths, scope.networks, scope.data_class)


def _row(secret: KeySecret, places: Places) -> Row:
    """Notes the scope among the places when it is new."""
    holder, scope = secret.holder, secret.scope
    return Row(
        digest=bytes.fromhex(secret.hash[-64:]),
        key_id=bytes.fromhex(secret.key),
        tenant=places.tenants[holder.tenant],
        team=places.teams[holder.team],
        user=places.users[holder.user],
        grant=places.grants.setdefault(scope, len(places.grants)),
        valid_until=0 if secret.ends is None else max(1, secret.ends // _MILLI),
        data_class=_CLASSES.index(scope.data_class or "P0"),
    )
