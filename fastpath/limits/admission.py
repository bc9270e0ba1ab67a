"""Admission: all limits of a request pass it or none is touched; what it holds comes back exactly once.

Owns the moment of admission and of settling. A rejected request changes no counter; an admitted one is charged its
estimate, and gives back or pays the difference when it is settled, which is to happen before the last byte reaches the
caller. Nothing is lost with a process: places and reservations lie in leases of the arena, which the reaper ends.

    admit    once per request, after its model is known and before anything is sent
    mark     when usage or content is met, so that budgets are charged should the worker die
    settle   once, with what it cost, before the answer's last byte; or void when it was never sent anywhere

Times: seconds, as `scheduler.clock` gives them.
"""

from typing import Literal

from _native.arena import Refusal
from _native.limiter import Ticket as Held
from fastpath.limits.plan import SECOND, Plan
from fastpath.limits.thresholds import Alert, report, report_exhausted

Cause = Literal["rate", "slots", "budget", "full", "superseded"]


class Rejection:
    """Why a request may not run. `refusal.describe` says it to the caller. wall: Unix seconds."""

    def __init__(self, plan: Plan, refusal: Refusal, wall: float, elsewhere: bool = False) -> None:
        self.elsewhere = elsewhere  # a budget has enough left, but another node holds it
        self.plan = plan
        self.cause: Cause = refusal.cause
        self.place = refusal.place
        self.retry_after = refusal.retry_after  # ns; 0: unknown, -1: never
        self.wall = wall


class Ticket:
    """What an admitted request holds. Dropped, it frees its places and reservations."""

    def __init__(self, plan: Plan, held: Held, alert: Alert) -> None:
        self.prepare(plan, held, alert)

    def prepare(self, plan: Plan, held: Held, alert: Alert) -> None:
        """What `__init__` does: called from C it needs no look at its arguments."""
        self._plan = plan
        self._held = held
        self._alert = alert

    def settle(self, now: float, input: int, output: int, money: int) -> bool:
        """Ends it with what it cost: tokens, and nano-units of the tenant's currency. False when it had ended."""
        reached = self._held.settle(int(now * SECOND), input, output, money)
        if reached > 0:
            report(self._plan, reached, self._alert)
        return reached >= 0

    def void(self, now: float) -> bool:
        """Ends it as if it had never been: nothing was sent anywhere. False when it had ended."""
        return self._held.void(int(now * SECOND))

    def mark(self, tokens: int, money: int) -> None:
        """Notes what it cost so far."""
        self._held.mark(tokens, money)


def admit(plan: Plan, now: float, wall: float, input: int, output: int, money: int, alert: Alert) -> Ticket | Rejection:
    """Admits a request that may cost so many input and output tokens and so much money, or changes nothing.

    now: monotonic seconds; wall: Unix seconds, which choose the budgets' periods. money: nano-units of the tenant's
    currency, the worst case; 0 when no price is known. alert: told when budgets cross thresholds.
    """
    moment = int(now * SECOND)
    if moment >= plan.due:
        plan.refresh(moment)
    if not plan.since <= wall < plan.until:
        plan.turn(wall)
    held = plan.limiter.admit(moment, moment + plan.lease, input, output, money)
    if isinstance(held, Held):
        ticket = Ticket.__new__(Ticket)
        ticket.prepare(plan, held, alert)
        return ticket
    elsewhere = plan.parts is not None and _miss(plan, held, input + output, money)
    if held.cause == "budget":
        report_exhausted(plan, held.place, alert)
    return Rejection(plan, held, wall, elsewhere)


def _miss(plan: Plan, refusal: Refusal, tokens: int, money: int) -> bool:
    """Has this node ask for more of what it shares with others; whether the budget that refused has that."""
    assert plan.parts is not None
    if refusal.cause == "slots":
        plan.parts.miss_place(refusal.place)
    if refusal.cause != "budget":
        return False
    fund = plan.funds[refusal.place]
    amount = max(1, tokens if fund.kind == "tokens" else money)
    committed, _, _ = plan.limiter.committed(refusal.place)
    if committed + plan.parts.others[refusal.place] + amount > fund.stop:
        return False
    plan.parts.miss_fund(refusal.place, amount)
    return True
