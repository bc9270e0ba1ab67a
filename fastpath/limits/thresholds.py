"""What happens when so much of a budget is spent: told once per period, and a cheaper model from then on.

Owns the meaning of thresholds. That each is told once, over all workers and restarts, is a compare-and-swap in the
arena. What is spent is what settled requests cost; what running ones reserved counts only where a budget blocks.
"""

from collections.abc import Callable

import msgspec

from _native.limiter import NO_BOUND
from fastpath.limits.plan import Fund, Kind, Level, Plan, Scope
from fastpath.settings.tenancy import Action


class Crossing(msgspec.Struct, frozen=True):
    """A threshold was crossed. Amounts: tokens, or nano-units of `currency`."""

    scope: Scope
    owner: tuple[str, ...]
    budget: str
    percent: int
    action: Action
    kind: Kind
    currency: str
    spent: int
    whole: int
    period: int  # days since 1970, of its first day


Alert = Callable[[Crossing], None]


def report(plan: Plan, reached: int, alert: Alert) -> None:
    """Tells the thresholds that the budgets at these places (a bit each) crossed, each once."""
    for place, fund in enumerate(plan.funds):
        if reached >> place & 1:
            _report(plan, place, fund, alert)


def report_exhausted(plan: Plan, place: int, alert: Alert) -> None:
    """A budget refused a request: as far as callers can tell it is spent, so all up to there is told."""
    fund = plan.funds[place]
    committed, reserved, period = plan.limiter.committed(place)
    crossed = [level for level in fund.levels if level.amount <= max(committed - reserved, fund.stop)]
    _tell(plan, place, fund, crossed, committed - reserved, period, alert)


def degraded_model(plan: Plan) -> str | None:
    """The cheaper model that a request of this plan is to go to, None for its own."""
    for place, fund in enumerate(plan.funds):
        levels = [level for level in fund.levels if level.action == "degrade"]
        if not levels:
            continue
        committed, reserved, _ = plan.limiter.committed(place)
        crossed = [level.model for level in levels if level.amount <= committed - reserved]
        if crossed and crossed[-1] != plan.model:
            return crossed[-1]
    return None


def _report(plan: Plan, place: int, fund: Fund, alert: Alert) -> None:
    committed, reserved, period = plan.limiter.committed(place)
    spent = committed - reserved
    crossed = [level for level in fund.levels if level.amount <= spent]
    ahead = [level.amount for level in fund.levels if level.amount > spent]
    plan.limiter.notice(place, ahead[0] if ahead else NO_BOUND)
    _tell(plan, place, fund, crossed, spent, period, alert)


def _tell(plan: Plan, place: int, fund: Fund, crossed: list[Level], spent: int, period: int, alert: Alert) -> None:
    bits = sum(1 << fund.levels.index(level) for level in crossed)
    news = plan.limiter.cross(place, period, bits) if bits else 0
    for number, level in enumerate(fund.levels):
        if news >> number & 1:
            alert(_crossing(fund, level, spent, period))


def _crossing(fund: Fund, level: Level, spent: int, period: int) -> Crossing:
    return Crossing(
        scope=fund.owner.scope,
        owner=fund.owner.words,
        budget=fund.name,
        percent=level.percent,
        action=level.action,
        kind=fund.kind,
        currency=fund.owner.currency,
        spent=spent,
        whole=fund.whole,
        period=period,
    )
