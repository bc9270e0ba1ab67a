"""What happens when so much of a budget is spent: told once per period, and a cheaper model from then on.

Owns the meaning of thresholds. That one process is `first` to tell each, over all workers, is a compare-and-swap in the
arena. Others repeat it, once for each of their plans: what a ledger's unique key leaves out costs nothing, and what a
killed process noted and never told would be lost. What is spent is what settled requests cost; what running ones
reserved counts only where a budget blocks.
"""

from collections.abc import Callable

import msgspec

from _native.limiter import NO_BOUND
from fastpath.limits.plan import Fund, Kind, Level, Plan, Scope
from fastpath.settings.tenancy import Action, Period


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
    period: int  # days since 1970, of its first day; of a rolling budget, of the day
    span: Period = "day"
    days: int = 1  # length of a rolling budget
    account: tuple[str, str] = ("", "")  # tenant and name as the ledger has them
    first: bool = True  # False: another process has told it, if it was not killed between noting and telling


Alert = Callable[[Crossing], None]


def report(plan: Plan, reached: int, alert: Alert) -> None:
    """Tells the thresholds that the budgets at these places (a bit each) crossed, each once."""
    for place, fund in enumerate(plan.funds):
        if reached >> place & 1:
            _report(plan, place, fund, alert)


def report_exhausted(plan: Plan, place: int, alert: Alert) -> None:
    """A budget refused a request: as far as callers can tell it is spent, so all up to there is told."""
    fund = plan.funds[place]
    spent, period = plan.spent(place)
    bound = spent if plan.parts is not None else max(spent, fund.stop)  # another node may have what is left
    _tell(plan, place, fund, [level for level in fund.levels if level.amount <= bound], spent, period, alert)


def degraded_model(plan: Plan) -> str | None:
    """The cheaper model that a request of this plan is to go to, None for its own."""
    for place, fund in enumerate(plan.funds):
        levels = [level for level in fund.levels if level.action == "degrade"]
        if not levels:
            continue
        spent, _ = plan.spent(place)
        crossed = [level.model for level in levels if level.amount <= spent]
        if crossed and crossed[-1] != plan.model:
            return crossed[-1]
    return None


def _report(plan: Plan, place: int, fund: Fund, alert: Alert) -> None:
    spent, period = plan.spent(place)
    crossed = [level for level in fund.levels if level.amount <= spent]
    others = plan.parts.others[place] if plan.parts is not None else 0
    ahead = [level.amount for level in fund.levels if level.amount > spent]
    plan.limiter.notice(place, ahead[0] - others if ahead else NO_BOUND)
    _tell(plan, place, fund, crossed, spent, period, alert)


def _tell(plan: Plan, place: int, fund: Fund, crossed: list[Level], spent: int, period: int, alert: Alert) -> None:
    before, told = plan.noted.get(place, (period, 0))
    bits = sum(1 << fund.levels.index(level) for level in crossed) & ~(told if before == period else 0)
    if not bits:
        return
    news = plan.limiter.cross(place, period, bits)
    plan.noted[place] = period, bits | (told if before == period else 0)
    for number, level in enumerate(fund.levels):
        if bits >> number & 1:
            alert(_crossing(fund, level, spent, period, first=bool(news >> number & 1)))


def _crossing(fund: Fund, level: Level, spent: int, period: int, *, first: bool) -> Crossing:
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
        span=fund.calendar.period,
        days=fund.days,
        account=fund.owner.account,
        first=first,
    )
