"""Everything in the settings that nodes share: each limit of each owner once, whoever meets it.

Owns which limits those are: all but shares of a measured capacity, which every node measures for itself. Pure.
"""

from collections.abc import Iterator

import msgspec

from fastpath.limits.plan import Bound, Fund, Owner, Scope, fund_id, fund_of, rate_id, slots_id
from fastpath.settings import Key, Model, Settings, Team, Tenant, User


class Roster(msgspec.Struct, frozen=True):
    """By id, as `fastpath.limits.plan` makes it."""

    rates: dict[bytes, Bound]
    slots: dict[bytes, Bound]
    funds: dict[bytes, Fund]


def list_shared(settings: Settings) -> Roster:
    """What nodes with these settings have in common."""
    roster = Roster({}, {}, {})
    for owner, one in _owners(settings):
        for bound in _bounds(owner, one):
            if bound.limit.count == "concurrency":
                roster.slots[slots_id(bound)] = bound
            elif bound.limit.share is None:
                roster.rates[rate_id(bound)] = bound
        if not isinstance(one, Model):
            for budget in one.budgets:
                fund = fund_of(owner, budget)
                roster.funds[fund_id(fund)] = fund
    return roster


def _owners(settings: Settings) -> Iterator[tuple[Owner, Tenant | Team | User | Key | Model]]:
    homes = {tenant.name: tenant for tenant in settings.tenants}
    for tenant in settings.tenants:
        yield _owner("tenant", (tenant.name,), tenant), tenant
        for team in tenant.teams:
            yield _owner("team", (tenant.name, team.name), tenant), team
        for user in tenant.users:
            yield _owner("user", (tenant.name, user.name), tenant), user
    for key in settings.keys:
        yield _owner("key", (key.name,), homes.get(key.tenant or "")), key
    for model in settings.models:
        yield _owner("model", (model.name,), None), model


def _owner(scope: Scope, words: tuple[str, ...], home: Tenant | None) -> Owner:
    return Owner(scope, words) if home is None else Owner(scope, words, home.currency, home.time_zone)


def _bounds(owner: Owner, one: Tenant | Team | User | Key | Model) -> Iterator[Bound]:
    for limit in one.limits:
        yield Bound(owner, limit)
    if not isinstance(one, Model):
        for group in one.model_limits:
            for limit in group.limits:
                yield Bound(owner, limit, group.model)
