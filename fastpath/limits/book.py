"""Who belongs to whom, compiled from settings: from a caller and a model to the plan of their requests.

Owns the order of owners (tenant, team, user, key, then the model for all) and which of their limits meet one request.
Immutable: plans are kept by whoever asks. One Book per snapshot, so with every publication: who stands above a key is
looked up when a plan is made.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from _native.arena import Arena
from fastpath.account.payer import payer_of
from fastpath.limits.parts import Parts
from fastpath.limits.plan import SECOND, Bound, Capacity, Owner, Plan, Scope
from fastpath.settings import Budget, Key, Limit, Model, ModelLimits, Settings, Team, Tenant, User

#: A lease outlives every time-out of its request: only what nobody settles runs into it.
LEASES_PER_TOTAL = 2


class Member(msgspec.Struct, frozen=True):
    """An owner with what it carries."""

    owner: Owner
    limits: tuple[Limit, ...]
    model_limits: tuple[ModelLimits, ...] = ()
    budgets: tuple[Budget, ...] = ()

    def bounds(self, model: str | None = None) -> list[Bound]:
        """Its limits that a request for a model meets; None: all of them."""
        found = [Bound(self.owner, limit) for limit in self.limits]
        for one in self.model_limits:
            if model is None or one.model == model:
                found += [Bound(self.owner, limit, one.model) for limit in one.limits]
        return found


class Holder(msgspec.Struct, frozen=True):
    """A caller without a key in the settings: names of tenant, team and user, None where there is none."""

    tenant: str | None = None
    team: str | None = None
    user: str | None = None


Caller = str | Holder | None
"""Who asks: a key's name, whoever came with a token, or None where no key is asked for."""


class Book:
    """All owners of the settings, by the name of the key that stands for them or by their own names."""

    def __init__(self, settings: Settings, arena: Arena, capacity: Capacity | None = None) -> None:
        self._arena = arena
        self._parts = Parts(arena, settings.shared.nodes) if settings.shared is not None else None
        self._capacity = capacity
        self._tenants = {tenant.name: tenant for tenant in settings.tenants}
        self._keys = {key.name: key for key in settings.keys}
        self._models = {model.name: model for model in settings.models}
        self._total = settings.timeouts.total

    def plan(self, caller: Caller, model: str) -> Plan:
        """The plan of a caller's requests for a model, whose names are as the settings have them.

        For the caller to keep, by both and in a bounded map: models are those of the settings, and `*` is one.
        """
        members = self._members(caller)
        bounds = [bound for member in members for bound in member.bounds(model)]
        known = self._models.get(model)
        if known is not None:
            bounds += model_bounds(known)
        budgets = [(member.owner, budget) for member in members for budget in member.budgets]
        lease = round(LEASES_PER_TOTAL * self._patience(known) * SECOND)
        return Plan(self._arena, bounds, budgets, model=model, capacity=self._capacity, lease=lease, parts=self._parts)

    def _members(self, caller: Caller) -> list[Member]:
        """Everyone who answers for a caller, the widest first."""
        key = self._keys.get(caller) if isinstance(caller, str) else None
        who = caller if isinstance(caller, Holder) else key
        if who is None:
            return []
        home = self._tenants.get(who.tenant or "")
        above = [] if home is None else _above(home, who.team, who.user)
        return above if key is None else [*above, _own(key, home)]

    def _patience(self, model: Model | None) -> float:
        """The longest that a request may take, in seconds."""
        return model.timeouts.total if model is not None and model.timeouts is not None else self._total


def members_of(settings: Settings) -> Iterator[Member]:
    """Everyone who may have limits or budgets, whether a key stands for them or not."""
    tenants = {tenant.name: tenant for tenant in settings.tenants}
    for tenant in settings.tenants:
        yield _member("tenant", (tenant.name,), tenant, tenant, "")
        for team in tenant.teams:
            yield _member("team", (tenant.name, team.name), team, tenant, team.id or team.name)
        for user in tenant.users:
            yield _member("user", (tenant.name, user.name), user, tenant, user.id or user.name)
    for key in settings.keys:
        yield _own(key, tenants.get(key.tenant or ""))


def model_bounds(model: Model) -> list[Bound]:
    """The limits that all callers of a model meet together."""
    return [Bound(Owner("model", (model.name,)), limit) for limit in model.limits]


def owners_of(settings: Settings) -> Iterator[Key | Tenant | Team | User]:
    """Everyone who may have limits or budgets, as the settings have them."""
    yield from settings.keys
    for tenant in settings.tenants:
        yield tenant
        yield from tenant.teams
        yield from tenant.users


def resolved_keys(settings: Settings) -> tuple[Key, ...]:
    """The keys, each with the team of its user where it names none: bills go to that team, as limits do.

    What keys have in common is one object for all of them: a request of any key then finds it in the processor's cache.
    """
    teams = {(tenant.name, user.name): user.team for tenant in settings.tenants for user in tenant.users}
    seen: dict[object, Any] = {}
    return tuple(_resolved(key, teams, seen) for key in settings.keys)


def _resolved(key: Key, teams: dict[tuple[str, str], str | None], seen: dict[object, Any]) -> Key:
    """seen: what keys before this one had."""
    team = key.team if key.team or not key.user else teams.get((key.tenant or "", key.user))
    tenant, models = seen.setdefault(key.tenant, key.tenant), seen.setdefault(key.models, key.models)
    if team is key.team and tenant is key.tenant and models is key.models:
        return key
    return msgspec.structs.replace(key, tenant=tenant, team=team, models=models)


def _own(key: Key, home: Tenant | None) -> Member:
    """A key itself, in its tenant if it has one."""
    payer = payer_of(key)
    if home is not None:
        return _member("key", (key.name,), key, home, payer.key)
    owner = Owner("key", (key.name,), account=(payer.tenant, payer.key))
    return Member(owner, key.limits, key.model_limits, key.budgets)


def _above(tenant: Tenant, team_name: str | None, user_name: str | None) -> list[Member]:
    """A tenant with the team and the user of these names, where it has them. The user's team stands in for none."""
    user = next((user for user in tenant.users if user.name == user_name), None)
    wanted = team_name or (user.team if user is not None else None)
    team = next((team for team in tenant.teams if team.name == wanted), None)
    found = [_member("tenant", (tenant.name,), tenant, tenant, "")]
    if team is not None:
        found.append(_member("team", (tenant.name, team.name), team, tenant, team.id or team.name))
    if user is not None:
        found.append(_member("user", (tenant.name, user.name), user, tenant, user.id or user.name))
    return found


def _member(
    scope: Scope, words: tuple[str, ...], one: Tenant | Team | User | Key, home: Tenant, account: str
) -> Member:
    """account: what the ledger calls it below its tenant, "" for the tenant itself."""
    owner = Owner(scope, words, home.currency, home.time_zone, (home.id or home.name, account))
    return Member(owner, one.limits, one.model_limits, one.budgets)
