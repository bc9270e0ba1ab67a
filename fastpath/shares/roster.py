"""Everything in the settings that nodes share: each limit of each owner once, whoever meets it.

Owns which limits those are: all but shares of a measured capacity, which every node measures for itself. Pure.
"""

from itertools import chain

import msgspec

from fastpath.limits.book import members_of, model_bounds
from fastpath.limits.plan import Bound, Fund, fund_id, fund_of, rate_id, slots_id
from fastpath.settings import Settings


class Roster(msgspec.Struct, frozen=True):
    """By id, as `fastpath.limits.plan` makes it."""

    rates: dict[bytes, Bound]
    slots: dict[bytes, Bound]
    funds: dict[bytes, Fund]


def list_shared(settings: Settings) -> Roster:
    """What nodes with these settings have in common."""
    roster = Roster({}, {}, {})
    members = list(members_of(settings))
    bounds = chain.from_iterable([member.bounds() for member in members] + [*map(model_bounds, settings.models)])
    for bound in bounds:
        if bound.limit.count == "concurrency":
            roster.slots[slots_id(bound)] = bound
        elif bound.limit.share is None:
            roster.rates[rate_id(bound)] = bound
    for member in members:
        for budget in member.budgets:
            fund = fund_of(member.owner, budget)
            roster.funds[fund_id(fund)] = fund
    return roster
