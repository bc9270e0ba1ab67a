"""Policies: listed, made, edited, removed; and read for whoever compiles a snapshot.

Owns who may write which rule: an admin all; a tenant-admin those of the own tenant, which hold for that tenant alone
and can only deny, so that they never give anybody more. What a role above has written it cannot take away. Every method
takes who asks and raises a Problem. Any number of tasks may use one.
"""

from typing import Any, Final

import msgspec
from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.access.principal import Principal, Reach
from controlplane.access.roles import Role
from controlplane.audit.trail import Change, Subject, Trail
from controlplane.identity.changes import name_taken
from controlplane.identity.objects import MICROS, TENANT, find
from controlplane.identity.shapes import sent
from controlplane.ids import check_id, new_id
from controlplane.paging import Listing, Page, cut, next_of
from controlplane.policies.shapes import FIELDS, PolicyDraft, PolicyEdits, PolicyView, plain_conditions
from controlplane.policies.tables import POLICIES
from controlplane.problem import conflict, forbidden, invalid, missing
from controlplane.store.database import Database
from fastpath.settings import Policy
from fastpath.settings.file import check_policy

KIND: Final = "policy"
#: Rules of one tenant, and of the whole gateway. All are looked at for every request, a thousand for about 2 us.
MOST_OF_TENANT: Final = 100
MOST_OF_GATEWAY: Final = 1000


class Policies:
    """Rules of the gateway and of tenants."""

    def __init__(self, database: Database, trail: Trail) -> None:
        self._database = database
        self._trail = trail

    async def list(self, who: Principal, tenant: str | None, page: Page) -> Listing[PolicyView]:
        """One page of what `who` sees, of one tenant or of all."""
        statement = _visible(who.reach)
        if tenant is not None:
            statement = statement.where(POLICIES.c.tenant_id == check_id(tenant, TENANT.name))
        async with self._database.read() as connection:
            rows = [*await connection.execute(cut(statement, POLICIES, page))]
        return Listing(data=[_view(row) for row in rows[: page.limit]], next=next_of(rows, page))

    async def get(self, who: Principal, text: str) -> PolicyView:
        """One policy."""
        async with self._database.read() as connection:
            return _view(await _find(connection, text, who.reach))

    async def create(self, who: Principal, draft: PolicyDraft) -> PolicyView:
        """A new policy."""
        tenant = draft.tenant_id or who.tenant
        rule = plain_conditions(draft)
        _check(draft.name, draft.effect, rule, owned=tenant is not None)
        async with self._trail.change(who.actor) as change:
            if tenant is not None:
                await find(change.connection, TENANT, tenant, who.reach)
            await _check_room(change.connection, tenant)
            policy = new_id()
            values = {
                "id": policy,
                "name": draft.name,
                "tenant_id": tenant,
                "effect": draft.effect,
                "conditions": rule,
                "disabled": False,
                "made_by": who.role.value,
                "created_at": change.at,
                "updated_at": change.at,
            }
            await _write(change, insert(POLICIES).values(values))
            row = await _find(change.connection, policy, who.reach)
            view = _view(row)
            await change.record("policy.create", _subject(row), None, view)
            return view

    async def edit(self, who: Principal, text: str, edits: PolicyEdits) -> PolicyView:
        """Changes the fields that were sent and differ, and nothing else."""
        async with self._trail.change(who.actor) as change:
            row = await _find(change.connection, text, who.reach)
            _check_rank(who, row)
            before, after = _view(row), _edited(row, edits)
            changed = {name: value for name, value in after.items() if getattr(row, name) != value}
            if not changed:
                return before
            _check(after["name"], after["effect"], after["conditions"], owned=row.tenant_id is not None)
            statement = update(POLICIES).where(POLICIES.c.id == row.id)
            await _write(change, statement.values(**changed, updated_at=change.at))
            view = _view(await _find(change.connection, text, who.reach))
            await change.record("policy.edit", _subject(row), *_differences(before, view))
            return view

    async def delete(self, who: Principal, text: str) -> None:
        """Removes a policy."""
        async with self._trail.change(who.actor) as change:
            row = await _find(change.connection, text, who.reach)
            _check_rank(who, row)
            await change.connection.execute(delete(POLICIES).where(POLICIES.c.id == row.id))
            await change.record("policy.delete", _subject(row), _view(row), None)


def policy_of(row: Any, name: str, owner: str | None) -> Policy:
    """The rule in a row, under a name and for a tenant. Raises msgspec.ValidationError for what is none."""
    return msgspec.convert({**row.conditions, "name": name, "effect": row.effect, "owner": owner}, Policy)


def _check(name: str, effect: str, rule: dict[str, Any], *, owned: bool) -> None:
    """Raises a 400 for a rule that a settings file could not have."""
    if owned and "tenants" in rule:
        raise invalid("`tenants` goes without saying in a tenant's own policy: leave it out.", "tenants")
    try:
        policy = msgspec.convert({**rule, "name": name, "effect": effect, "owner": "tenant" if owned else None}, Policy)
    except msgspec.ValidationError as error:
        raise invalid(f"The policy cannot be read: {error}.") from error
    for problem in check_policy(policy):
        raise invalid(f"`{problem.path}` {problem.message}.", problem.path)


def _check_rank(who: Principal, row: Any) -> None:
    if Role(row.made_by).rank > who.role.rank:
        raise forbidden(f"It was made by a role above yours ({row.made_by}): ask one of them.", "made_above")


async def _check_room(connection: AsyncConnection, tenant: str | None) -> None:
    same = POLICIES.c.tenant_id.is_(None) if tenant is None else POLICIES.c.tenant_id == tenant
    count = (await connection.execute(select(func.count()).select_from(POLICIES).where(same))).scalar_one()
    most = MOST_OF_GATEWAY if tenant is None else MOST_OF_TENANT
    if count >= most:
        raise conflict(f"There are {most} policies already, the most there can be: remove one.", "too_many_policies")


def _edited(row: Any, edits: PolicyEdits) -> dict[str, Any]:
    """The columns as they will be."""
    given = sent(edits)
    columns = {name: given.get(name, getattr(row, name)) for name in ("name", "disabled", "effect")}
    changes = {name: msgspec.to_builtins(given[name]) for name in (*FIELDS, "unless") if name in given}
    merged = {**row.conditions, **changes}
    rule = msgspec.convert({**merged, "name": row.name, "effect": row.effect}, Policy)
    return columns | {"conditions": plain_conditions(rule)}


def _differences(before: PolicyView, after: PolicyView) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the trail says of an edit: the fields that changed."""
    one, other = msgspec.to_builtins(before), msgspec.to_builtins(after)
    changed = [name for name in one if one[name] != other[name] and name != "updated_at"]
    return {name: one[name] for name in changed}, {name: other[name] for name in changed}


async def _write(change: Change, statement: Any) -> None:
    try:
        await change.connection.execute(statement)
    except IntegrityError as error:
        raise name_taken() from error


def _visible(reach: Reach) -> Select[Any]:
    statement = select(POLICIES)
    return statement if reach.tenant is None else statement.where(POLICIES.c.tenant_id == reach.tenant)


async def _find(connection: AsyncConnection, text: str, reach: Reach) -> Any:
    statement = _visible(reach).where(POLICIES.c.id == check_id(text, KIND))
    row = (await connection.execute(statement)).first()
    if row is None:
        raise missing(KIND)
    return row


def _subject(row: Any) -> Subject:
    return Subject(KIND, row.id, row.tenant_id)


def _view(row: Any) -> PolicyView:
    columns = {name: getattr(row, name) for name in ("id", "tenant_id", "name", "effect", "disabled", "made_by")}
    moments = {name: getattr(row, name) // MICROS for name in ("created_at", "updated_at")}
    return msgspec.convert({"unless": None, **row.conditions, **columns, **moments}, PolicyView)
