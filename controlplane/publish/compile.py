"""From the database to a publication: the tenants, keys and policies of the admin API, as the data plane reads them.

Owns the names that the data plane knows them by, and which keys are held back: a key is published only when the data
plane holds all that limits it. Today it holds models and ends; a key that is limited to paths, networks or a data class
would work everywhere if it were published, so it is not. Does not own the rows' layout (`_native.keytable`). Reads in
one transaction, keeps nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct, ValidationError
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from _native.keytable import Row
from controlplane.identity.roster import KeySecret, read_holders, read_secrets
from controlplane.identity.scope import ANY, Scope
from controlplane.identity.tables import KEY_SECRETS, TEAMS, TENANTS, USERS
from controlplane.policies.policies import policy_of
from controlplane.policies.tables import POLICIES
from fastpath.settings import Key, Policy, Settings, Team, Tenant, User, encode_settings
from fastpath.settings.syntax import check_label

_MILLI: Final = 1000
"""Microseconds, as the database has times, per millisecond, as rows have them."""
_LEAST_LIMITED: Final = 0
"""The data class of a row that may send all of them."""


class Compiled(Struct, frozen=True):
    """`settings`: as `encode_settings`. `held_back`: a sentence each. `ends`: the next key's, in microseconds."""

    settings: bytes
    rows: tuple[Row, ...]
    held_back: tuple[str, ...]
    ends: int | None


async def compile_all(connection: AsyncConnection, at: int, pepper_id: str) -> Compiled:
    """Everything that is good at `at` (microseconds). `pepper_id`: under which this node hashes keys."""
    names = await _read_names(connection)
    holders = await read_holders(connection)
    secrets = [secret async for batch in read_secrets(connection, holders, at) for secret in batch]
    held_back = {secret.hash: reason for secret in secrets if (reason := _hold_back(secret, names, pepper_id))}
    good = [secret for secret in secrets if secret.hash not in held_back]
    newest = await _read_current(connection)
    labels = _label_keys(good, names, newest)
    places = {tenant: place for place, tenant in enumerate(names.tenants)}
    policies, silent = await _read_policies(connection, names)
    settings = Settings(
        tenants=tuple(names.tenants.values()),
        keys=tuple(_key(secret, names, labels) for secret in good),
        policies=policies,
    )
    return Compiled(
        encode_settings(settings),
        tuple(_row(secret, places) for secret in good),
        tuple(sorted({*held_back.values(), *silent})),
        min((secret.ends for secret in good if secret.ends is not None), default=None),
    )


class Names(Struct, frozen=True):
    """Published objects by their id: tenants whole, teams and users by the name that the data plane has for them."""

    tenants: dict[str, Tenant]
    teams: dict[str, str]
    users: dict[str, str]


async def _read_names(connection: AsyncConnection) -> Names:
    teams, users = await _read_alive(connection, TEAMS), await _read_alive(connection, USERS)
    team_names = {team.id: team.name for team in teams}
    user_names = {user.id: _fit(f"{team_names.get(user.team_id, '')}/{user.name}", user.id) for user in users}
    below: dict[str, tuple[list[Team], list[User]]] = {}
    tenants = [row for row in await _read_alive(connection, TENANTS) if row.owner == "api"]
    for row in tenants:
        below[row.id] = [], []
    for team in teams:
        if team.tenant_id in below:
            below[team.tenant_id][0].append(Team(name=team.name))
    for user in users:
        if user.tenant_id in below and user.team_id in team_names:
            below[user.tenant_id][1].append(User(name=user_names[user.id], team=team_names[user.team_id]))
    return Names({row.id: _tenant(row, *below[row.id]) for row in tenants}, team_names, user_names)


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


async def _read_alive(connection: AsyncConnection, table: Table) -> list[Any]:
    """In the order in which they were made, so that what is published changes only where something changed."""
    alive = select(table).where(table.c.deleted_at.is_(None), table.c.disabled.is_(False))
    return list(await connection.execute(alive.order_by(table.c.created_at, table.c.id)))


async def _read_current(connection: AsyncConnection) -> frozenset[str]:
    """Hashes of the secrets that were not rotated away."""
    statement = select(KEY_SECRETS.c.hash).where(KEY_SECRETS.c.valid_until.is_(None))
    return frozenset((await connection.execute(statement)).scalars())


def _tenant(row: Any, teams: list[Team], users: list[User]) -> Tenant:
    return Tenant(name=row.name, time_zone=row.time_zone, currency=row.currency, teams=tuple(teams), users=tuple(users))


def _hold_back(secret: KeySecret, names: Names, pepper_id: str) -> str:
    """Why a key is not published; "" when it is."""
    label = f"key {secret.name} ({secret.key})"
    if secret.holder.tenant not in names.tenants:
        return f"{label} belongs to a tenant of the settings file: keep it there, too"
    if secret.hash.split(":")[1] != pepper_id:
        return f"{label} was made under another pepper than this state folder's: rotate it here"
    limits = [field for field, limited in _LIMITS.items() if limited(secret.scope)]
    if limits:
        return (
            f"{label} is not in force: this version cannot hold a caller to its {' and '.join(limits)}; take that "
            "limit off the key and its owners, or wait for one that can"
        )
    return f"{label} may use no model: its owners leave it none" if secret.scope.models == () else ""


_LIMITS: Final[Mapping[str, Callable[[Scope], bool]]] = {
    "paths": lambda scope: scope.paths is not None and ANY not in scope.paths,
    "networks": lambda scope: scope.networks is not None,
    "data class": lambda scope: scope.data_class not in (None, "P0"),
}


def _label_keys(secrets: list[KeySecret], names: Names, current: frozenset[str]) -> dict[str, str]:
    """The name of each secret in logs: tenant/team/user/key; one that was rotated away has its public id behind it.

    Where names with slashes would read the same, or are too long, the key's id stands for them.
    """
    by_key = {secret.key: _path(secret, names) for secret in secrets}
    shared = Counter(by_key.values())
    labels = {}
    for secret in secrets:
        path = by_key[secret.key]
        label = f"key:{secret.key}" if shared[path] > 1 else _fit(path, f"key:{secret.key}")
        labels[secret.hash] = label if secret.hash in current else _fit(f"{label}:{secret.public_id}", secret.hash)
    return labels


def _path(secret: KeySecret, names: Names) -> str:
    return f"{names.tenants[secret.holder.tenant].name}/{names.users[secret.holder.user]}/{secret.name}"


def _fit(label: str, otherwise: str) -> str:
    return label if check_label(label) is None else otherwise


def _key(secret: KeySecret, names: Names, labels: Mapping[str, str]) -> Key:
    holder = secret.holder
    return Key(
        name=labels[secret.hash],
        hash=secret.hash,
        models=secret.scope.models if secret.scope.models is not None else (ANY,),
        tenant=names.tenants[holder.tenant].name,
        team=names.teams[holder.team],
        user=names.users[holder.user],
        ids=(holder.tenant, holder.team, holder.user, secret.key),
    )


def _row(secret: KeySecret, places: Mapping[str, int]) -> Row:
    return Row(
        digest=bytes.fromhex(secret.hash.rpartition(":")[2]),
        key_id=bytes.fromhex(secret.key),
        tenant=places[secret.holder.tenant],
        valid_until=0 if secret.ends is None else max(1, secret.ends // _MILLI),
        data_class=_LEAST_LIMITED,
    )
