"""From the database to a publication: what the admin API has of tenants, keys, policies and models, for the data plane.

Owns the names that the data plane knows them by, which keys are held back, and what is read again: after a change only
what the audit trail says was touched, so that an edit of one key costs the same whether there are a thousand or a
hundred thousand. Does not own the rows (`rows`). Reads in one transaction; nothing that was handed out is changed.
"""

from typing import Final

from msgspec import Struct, ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from _native.keytable import Row
from controlplane.identity.objects import TEAM, TENANT
from controlplane.identity.roster import Holder, KeySecret, read_holders, read_secrets, read_some
from controlplane.identity.scope import ANY, Scope
from controlplane.identity.tables import TENANTS
from controlplane.policies.policies import policy_of
from controlplane.policies.tables import POLICIES
from controlplane.publish.names import Names, fit, read_names, read_users
from controlplane.publish.rows import (
    Difference,
    Judge,
    Places,
    Rows,
    Stale,
    add_rows,
    compare_rows,
    drop_rows,
    number,
    settle_places,
)
from controlplane.publish.touched import Mark, Touched, read_mark, read_touched
from controlplane.registry.published import Reveal, read_registry, reveal_nothing
from controlplane.registry.registry import ENDPOINT, MODEL
from fastpath.settings import Policy
from fastpath.settings.registry import Registered
from fastpath.settings.roster import Grant, Roster, encode_roster

_ABOVE: Final = frozenset({TENANT.name, TEAM.name})
_REGISTRY: Final = frozenset({MODEL, ENDPOINT})
_MOST_MOVED: Final = 4
"""All keys are read when more than one user in so many changed what their keys may."""


class Scene(Struct, frozen=True):
    """What was read besides keys, at one moment (`at`, microseconds), and what is said of damaged models."""

    mark: Mark
    at: int
    names: Names
    holders: dict[str, Holder]
    models: tuple[Registered, ...]
    damaged: tuple[str, ...]


class Compiled(Struct, frozen=True):
    """`roster`: as `encode_roster`; rows point into it, at `places`. `held_back`: a sentence each.

    `difference`: to what was compiled before, None when all rows count as changed. `read`: secrets that were read.
    """

    roster: bytes
    kept: Rows
    places: Places
    held_back: tuple[str, ...]
    scene: Scene
    difference: Difference | None
    read: int

    @property
    def rows(self) -> tuple[Row, ...]:
        """All of them."""
        return tuple(self.kept.good.values())


class _Keys(Struct, frozen=True):
    """What became of the keys."""

    rows: Rows
    places: Places
    difference: Difference | None
    read: int


async def compile_all(
    connection: AsyncConnection, at: int, pepper_id: str, reveal: Reveal = reveal_nothing
) -> Compiled:
    """Everything that is good at `at` (microseconds) or will be. `pepper_id`: under which this node hashes keys.
    reveal: opens keys of endpoints. Raises SealError when it cannot."""
    scene = await _read_scene(connection, at, reveal, await read_mark(connection))
    return await _compose(connection, scene, await _read_keys(connection, scene, pepper_id))


async def compile_changes(
    connection: AsyncConnection, at: int, pepper_id: str, reveal: Reveal, before: Compiled
) -> Compiled:
    """As `compile_all`, with what nobody touched since `before` taken from there."""
    mark = await read_mark(connection)
    touched = await read_touched(connection, before.scene.mark, mark)
    if touched is None or at < before.scene.at:  # a clock that went back: keys that had ended are good again
        return await compile_all(connection, at, pepper_id, reveal)
    scene = await _read_scene(connection, at, reveal, mark, before.scene, touched)
    moved = _moved(before.scene.holders, scene.holders)
    if len(moved) * _MOST_MOVED > len(scene.holders):
        return await _compose(connection, scene, await _read_keys(connection, scene, pepper_id))
    stale = Stale(touched.keys, moved, at)
    return await _compose(connection, scene, await _refresh_keys(connection, scene, pepper_id, stale, before))


async def _read_scene(
    connection: AsyncConnection,
    at: int,
    reveal: Reveal,
    mark: Mark,
    before: Scene | None = None,
    touched: Touched | None = None,
) -> Scene:
    names, holders = await _read_owners(connection, before, touched)
    if before is None or touched is None or touched.kinds & _REGISTRY:
        models, damaged = await read_registry(connection, reveal)
    else:
        models, damaged = before.models, list(before.damaged)
    return Scene(mark, at, names, holders, models, tuple(damaged))


async def _read_owners(
    connection: AsyncConnection, before: Scene | None, touched: Touched | None
) -> tuple[Names, dict[str, Holder]]:
    """Of users that were touched only these: nothing is below them that the names tell of."""
    if before is None or touched is None or touched.kinds & _ABOVE:
        return await read_names(connection), await read_holders(connection)
    if not touched.users:
        return before.names, before.holders
    holders = {user: holder for user, holder in before.holders.items() if user not in touched.users}
    holders |= await read_holders(connection, touched.users)
    return await read_users(connection, before.names, touched.users), holders


def _moved(before: dict[str, Holder], after: dict[str, Holder]) -> frozenset[str]:
    """Users whose keys may something else than before, or who came or went."""
    if before is after:
        return frozenset()
    users = before.keys() | after.keys()
    return frozenset(user for user in users if (old := before.get(user)) is not (new := after.get(user)) and old != new)


async def _read_keys(connection: AsyncConnection, scene: Scene, pepper_id: str) -> _Keys:
    """All of them."""
    batches = read_secrets(connection, scene.holders, scene.at)
    secrets = [secret async for batch in batches for secret in batch]
    judge = _judge(scene.names, pepper_id)
    rows, places = add_rows(Rows({}, {}), secrets, _places(scene.names), judge)
    return _Keys(rows, places, None, len(secrets))


async def _refresh_keys(
    connection: AsyncConnection, scene: Scene, pepper_id: str, stale: Stale, before: Compiled
) -> _Keys:
    """What `before` had, and what is stale as it is now."""
    left, went = drop_rows(before.kept, stale, before.places)
    now = before.places if scene.names is before.scene.names else _places(scene.names)
    settled, places, moved = settle_places(left, before.places, now)
    secrets = await read_some(connection, scene.holders, scene.at, stale.keys, stale.users)
    rows, places = add_rows(settled, secrets, places, _judge(scene.names, pepper_id))
    added = [bytes.fromhex(secret.hash[-64:]) for secret in secrets]
    return _Keys(rows, places, None if moved else compare_rows(went, rows, added), len(secrets))


async def _compose(connection: AsyncConnection, scene: Scene, keys: _Keys) -> Compiled:
    policies, silent = await _read_policies(connection, scene.names)
    roster = Roster(
        tenants=tuple(scene.names.tenants.values()),
        tenant_ids=tuple(keys.places.tenants),
        team_ids=tuple(keys.places.teams),
        user_ids=tuple(keys.places.users),
        grants=tuple(_grant(scope) for scope in keys.places.grants),
        policies=policies,
        models=scene.models,
    )
    said = {*(one.sentence for one in keys.rows.held_back.values()), *silent, *scene.names.said, *scene.damaged}
    return Compiled(
        encode_roster(roster), keys.rows, keys.places, tuple(sorted(said)), scene, keys.difference, keys.read
    )


def _places(names: Names) -> Places:
    """Of all but the grants, which are added as rows need them."""
    teams = [team for tenant in names.tenants for team in names.teams[tenant]]
    users = [user for tenant in names.tenants for user in names.users[tenant]]
    return Places(number(names.tenants), number(teams), number(users), {})


async def _read_policies(connection: AsyncConnection, names: Names) -> tuple[tuple[Policy, ...], list[str]]:
    """The rules that are switched on, in the order in which they were made, and what is to be said of others."""
    statement = select(POLICIES, TENANTS.c.owner).outerjoin(TENANTS, TENANTS.c.id == POLICIES.c.tenant_id)
    on = statement.where(POLICIES.c.disabled.is_(False)).order_by(POLICIES.c.created_at, POLICIES.c.id)
    found: list[Policy] = []
    said: list[str] = []
    for row in await connection.execute(on):
        tenant = names.tenants.get(row.tenant_id or "")
        label = row.name if tenant is None else fit(f"{tenant.name}/{row.name}", f"policy:{row.id}")
        if row.tenant_id is not None and tenant is None:
            if row.owner == "file":
                said.append(f"policy {row.name} ({row.id}) is of a tenant of the settings file: keep it there, too")
            continue
        try:
            found.append(policy_of(row, label, tenant.name if tenant is not None else None))
        except ValidationError as error:
            said.append(f"policy {row.name} ({row.id}) is not in force, its row is damaged ({error}): write it anew")
    return tuple(found), said


def _judge(names: Names, pepper_id: str) -> Judge:
    return lambda secret: _hold_back(secret, names, pepper_id)


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


def _grant(scope: Scope) -> Grant:
    paths = None if scope.paths is not None and ANY in scope.paths else scope.paths
    models = scope.models if scope.models is not None else (ANY,)
    return Grant(models, paths, scope.networks, scope.data_class)
