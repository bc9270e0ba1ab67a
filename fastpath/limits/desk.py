"""Where requests are checked in: the plan of each key and model that was met, and what goes with it.

Owns the bounded memory of plans of one snapshot. Does not own what a plan says (`book`) or how it is applied
(`admission`). One event loop.
"""

from _native.arena import Arena, Word
from _native.limiter import NO_BOUND
from fastpath.errors import Header
from fastpath.limits.admission import Rejection, Ticket, admit
from fastpath.limits.book import Book, Caller, Holder, owners_of
from fastpath.limits.meters import Meters, likeness_of
from fastpath.limits.plan import Capacity, Plan
from fastpath.limits.seeding import CLOSED, seal_of
from fastpath.limits.thresholds import Alert, degraded_model
from fastpath.settings import Key, Settings

#: Pairs of a key and a model whose plans are kept; making one anew costs some tens of microseconds.
MOST_KEPT = 16_384


class Standing:
    """How one key stands with one model."""

    def __init__(self, plan: Plan, meters: Meters) -> None:
        self.plan = plan
        self.meters = meters
        self.free = not (plan.rates or plan.slots or plan.funds)  # nothing limits it
        self.capped = any(fund.stop < NO_BOUND for fund in plan.funds)  # a budget may refuse it
        self.money = any(fund.kind == "money" for fund in plan.funds)
        self.budgeted = any(fund.kind == "tokens" for fund in plan.funds)
        self._degrades = plan.degrades
        self.tokens = self.budgeted or any(bound.limit.count not in ("requests", "concurrency") for bound in plan.rates)

    def substitute(self, wall: float) -> str | None:
        """The cheaper model that its budget sends it to at this moment (Unix seconds)."""
        if not self._degrades:
            return None
        if not self.plan.since <= wall < self.plan.until:
            self.plan.turn(wall)
        return degraded_model(self.plan)

    def headers(self, dialect: str, now: float, wall: float) -> list[Header]:
        """What is left, in the names of the caller's dialect. now: monotonic seconds; wall: Unix seconds."""
        if dialect == "messages":
            return self.meters.messages_headers(self.plan.limiter, now, wall)
        return self.meters.headers(self.plan.limiter, now)


def caller_of(key: Key | None) -> Caller:
    """Whose limits a request meets: the key's, or those of whom a token or a published key stands for: only keys of the
    settings have limits of their own, and none has ids."""
    if key is None:
        return None
    return key.name if key.hash and not key.ids else Holder(key.tenant, key.team, key.user)


class Desk:
    """The plans of one snapshot. None of its keys and models is limited: `Desk.open` gives none."""

    def __init__(self, book: Book, alert: Alert, seal: Word | None = None) -> None:
        self._book = book
        self._alert = alert
        self._seal = seal
        self._standings: dict[str, dict[Caller, Standing]] = {}  # by model
        self._kept = 0
        self._meters: dict[tuple[object, ...], Meters] = {}  # by likeness, at most one for each standing

    @staticmethod
    def open(settings: Settings, arena: Arena, alert: Alert, capacity: Capacity | None = None) -> "Desk | None":
        """A desk for these settings, None where they limit nothing."""
        if not has_limits(settings):
            return None
        seal = seal_of(arena)
        return Desk(Book(settings, arena, capacity), alert, seal if seal.value == CLOSED else None)

    @property
    def unseeded(self) -> bool:
        """Whether budgets still wait for what a ledger remembers of them: those that could refuse must not admit."""
        if self._seal is not None and self._seal.value != CLOSED:
            self._seal = None
        return self._seal is not None

    def standing(self, caller: Caller, model: str) -> Standing:
        """How a caller stands with a model, whose names are as the settings have them."""
        known = self._standings.get(model)
        found = known.get(caller) if known is not None else None
        return self._make(caller, model) if found is None else found

    def _make(self, caller: Caller, model: str) -> Standing:
        if self._kept >= MOST_KEPT:
            self._standings.clear()
            self._meters.clear()
            self._kept = 0
        plan = self._book.plan(caller, model)
        likeness = likeness_of(plan)
        meters = self._meters.get(likeness)
        if meters is None:
            meters = self._meters[likeness] = Meters(plan)
        made = self._standings.setdefault(model, {})[caller] = Standing(plan, meters)
        self._kept += 1
        return made

    def admit(
        self, standing: Standing, now: float, wall: float, input: int, output: int, money: int
    ) -> Ticket | Rejection:
        """As `admission.admit`; thresholds that are crossed are told to the desk's alert."""
        return admit(standing.plan, now, wall, input, output, money, self._alert)


def has_limits(settings: Settings) -> bool:
    """Whether anything in the settings limits anyone."""
    return any(one.limits or one.model_limits or one.budgets for one in owners_of(settings)) or any(
        model.limits for model in settings.models
    )
