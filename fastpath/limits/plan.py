"""What applies to the requests of one key for one model, and how the arena counts it.

Owns: which bucket, place or budget of the arena stands for which setting, the arithmetic from "so many per window" to
GCRA, and the share of a measured capacity. Does not own who belongs to whom (`book`), nor any counting
(`_native.limiter`). A Plan is made once (tens of us) and used by one worker's loop; making one twice is harmless,
because what it counts with is found by name in the arena. Times: monotonic ns, and Unix seconds for periods.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, Protocol

import msgspec

from _native.arena import Arena, digest
from _native.limiter import NO_BOUND, Allowance, Limiter, Rate
from _native.limiter import Budget as Purse
from fastpath.limits.calendar import Calendar, Span
from fastpath.limits.parts import MOST_DEPTH, WHOLE, Parts, PlanParts
from fastpath.limits.parts import REFRESH as LOOK
from fastpath.settings.tenancy import Action, Budget, Counted, Limit

Scope = Literal["key", "user", "team", "tenant", "model"]
Kind = Literal["tokens", "money"]

SECOND = 1_000_000_000
NANO = 1_000_000_000
#: A request's worth of ns from which on rounding it up to whole ns costs less than 0.001 % of a limit.
COARSE = 100_000
#: How often the share of a measured capacity is looked at again. Five times as often as it must be noticed.
REFRESH = 1 * SECOND
MILLI = 1_000
DEFAULT_OUTPUT_WEIGHT = 4.0

#: Groups of limits that a header tells about: `Limiter.tightest`.
REQUESTS, TOKENS, INPUT, OUTPUT, UNTOLD = 0, 1, 2, 3, -1
_FAMILIES: dict[Counted, int] = {"requests": REQUESTS, "tokens": TOKENS, "input_tokens": INPUT, "output_tokens": OUTPUT}
_PER = {1.0: "second", 60.0: "minute", 3_600.0: "hour", 86_400.0: "day"}


class Capacity(Protocol):
    """What a model's endpoints together were measured to serve."""

    def per_second(self, model: str, counted: Counted) -> float | None:
        """Requests or tokens per second; None while nothing was measured."""


class Owner(msgspec.Struct, frozen=True):
    """Whoever carries limits. `words` name it among all owners of the node."""

    scope: Scope
    words: tuple[str, ...]
    currency: str = "USD"
    time_zone: str = "UTC"
    account: tuple[str, str] = ("", "")  # tenant, and the name in it, under which a ledger keeps it


class Bound(msgspec.Struct, frozen=True):
    """One limit as one owner has it, for one model or (None) all of them."""

    owner: Owner
    limit: Limit
    model: str | None = None

    @property
    def text(self) -> str:
        """What it allows, for people."""
        limit = self.limit
        if limit.count == "concurrency":
            return f"{limit.most} requests at once"
        per = _PER.get(limit.seconds) or f"{limit.seconds:g} s"
        much = f"{limit.share:.0%} of the capacity in" if limit.share is not None else f"{limit.most}"
        return f"{much} {limit.count.replace('_', ' ')} per {per}"


class Level(msgspec.Struct, frozen=True):
    """A threshold: from `amount` spent on, `action`."""

    percent: int
    amount: int
    action: Action
    model: str | None


class Fund(msgspec.Struct, frozen=True):
    """One budget as one owner has it. Amounts: tokens, or nano-units of the owner's currency."""

    owner: Owner
    name: str
    kind: Kind
    whole: int
    stop: int  # from so much committed on it refuses; NO_BOUND: it never does
    hard: bool
    levels: tuple[Level, ...]
    calendar: Calendar
    days: int  # 1, or the length of a rolling period


class Plan:
    """Everything that one request of a key for a model must pass. `admission.admit` uses it."""

    def __init__(
        self,
        arena: Arena,
        bounds: Sequence[Bound],
        budgets: Sequence[tuple[Owner, Budget]],
        *,
        model: str,
        capacity: Capacity | None,
        lease: int,
        parts: Parts | None = None,
    ) -> None:
        """lease: ns after which an admitted request counts as gone, whatever happened to it.

        Raises ValueError for more than a request can be measured by: the settings' rules see to that.
        """
        self.rates = tuple(bound for bound in bounds if bound.limit.count != "concurrency")
        self.slots = tuple(bound for bound in bounds if bound.limit.count == "concurrency")
        self.funds = tuple(fund_of(owner, budget) for owner, budget in budgets)
        self.model = model
        self.lease = lease
        self.due = -1 if any(bound.limit.share is not None for bound in self.rates) else NO_BOUND  # ns
        self.since, self.until = 0.0, 0.0 if self.funds else float("inf")  # of the periods the limiter is in
        self.spans: tuple[Span, ...] = ()
        self.noted: dict[int, tuple[int, int]] = {}  # of each budget: period, and thresholds (bits) told there
        self.degrades = any(level.action == "degrade" for fund in self.funds for level in fund.levels)
        self._capacity = capacity
        self.limiter = Limiter(
            arena,
            [_rate(arena, bound, parts) for bound in self.rates],
            [(arena.limit(slots_id(bound)), bound.limit.most or 0) for bound in self.slots],
            [
                allowance_of(arena, fund, budget.carry_over, parts)
                for fund, (_, budget) in zip(self.funds, budgets, strict=True)
            ],
        )
        self.parts: PlanParts | None = None  # of nodes that share limits: what this one may use of each
        if parts is not None and (bounds or budgets):
            ids = [rate_id(bound) for bound in self.rates], [slots_id(bound) for bound in self.slots]
            self.parts = PlanParts(parts, *ids, [fund_id(fund) for fund in self.funds])
            self.due = -1

    def turn(self, wall: float) -> None:
        """Moves the budgets into the periods of this moment (Unix seconds), and expects their thresholds anew."""
        self.spans = tuple(fund.calendar.at(wall) for fund in self.funds)
        for place, (fund, span) in enumerate(zip(self.funds, self.spans, strict=True)):
            self.limiter.turn(place, span.number, span.previous)
            self.limiter.notice(place, fund.levels[0].amount if fund.levels else NO_BOUND)
        if self.parts is not None:
            self.parts.refresh(self)
        self.since = max((span.since for span in self.spans), default=0.0)
        self.until = min((span.until for span in self.spans), default=float("inf"))

    def refresh(self, now: int) -> None:
        """Takes the capacity as it is measured now (monotonic ns) for the limits that are a share of it."""
        self.due = now + (REFRESH if self.parts is None else LOOK)
        if self.parts is not None:
            self.parts.refresh(self)
        for place, bound in enumerate(self.rates):
            if bound.limit.share is not None:
                self._pace(place, bound.limit, bound.limit.share)

    def _pace(self, place: int, limit: Limit, share: float) -> None:
        measured = self._capacity.per_second(self.model, limit.count) if self._capacity is not None else None
        if measured is not None:
            most: float = share * max(0.0, measured) * limit.seconds
        elif limit.most is not None:
            most = limit.most
        else:
            self.limiter.pace(place, 1, NO_BOUND, 1)  # nothing is known that it could be a share of
            return
        units = max(1, int(most * _scale(limit)))
        burst = units if limit.burst is None else limit.burst * _scale(limit)
        period, per = _pace_of(units, limit.seconds)
        self.limiter.pace(place, period, burst, per)

    def pace_part(self, place: int, part: int) -> None:
        """Works by so many billionths of the rate at `place`, unless it is a share of what this node measures."""
        limit = self.rates[place].limit
        if limit.share is None:
            units, burst = (limit.most or 1) * _scale(limit), (limit.burst or limit.most or 1) * _scale(limit)
            window = max(1, round(limit.seconds * SECOND))
            depth = min(max(1, burst * window // units), MOST_DEPTH)
            period, per = (window * WHOLE // part, units)
            if period // per >= COARSE:
                period, per = -(-period // per), 1
            self.limiter.pace(place, period, burst, per, depth)

    def spent(self, place: int) -> tuple[int, int]:
        """What the budget at `place` has spent, other nodes included as far as is known, and in which period."""
        committed, reserved, period = self.limiter.committed(place)
        return committed - reserved + (self.parts.others[place] if self.parts is not None else 0), period

    def expect(self, place: int) -> None:
        """Has the next request look at the thresholds of the budget at `place`, because others spent of it."""
        self.limiter.notice(place, 0 if self.funds[place].levels else NO_BOUND)


def _id(kind: str, owner: Owner, *words: str) -> bytes:
    """Where the arena counts for an owner. Amounts are no part of it: a limit that is raised goes on counting."""
    return digest(kind, owner.scope, *owner.words, "", *words)


def _scale(limit: Limit) -> int:
    return MILLI if limit.count == "weighted_tokens" else 1


def _pace_of(units: int, seconds: float) -> tuple[int, int]:
    """Period and `per` of a Rate: exact for tokens by the million, whole ns per request where that is exact enough."""
    window = max(1, round(seconds * SECOND))
    return (-(-window // units), 1) if window // units >= COARSE else (window, units)


def rate_id(bound: Bound) -> bytes:
    """Which bucket a limit per time has."""
    limit = bound.limit
    words = (bound.model or "", limit.count, repr(limit.seconds), repr(limit.output_weight))
    return _id("rate", bound.owner, *words)


def slots_id(bound: Bound) -> bytes:
    """Which places a limit of concurrency has."""
    return _id("slots", bound.owner, bound.model or "")


def fund_id(fund: Fund) -> bytes:
    """Which purse a budget has."""
    words = (fund.name, fund.kind, fund.calendar.period, str(fund.days), fund.owner.currency)
    return _id("budget", fund.owner, *words)


def _rate(arena: Arena, bound: Bound, parts: Parts | None) -> Rate:
    limit, scale = bound.limit, _scale(bound.limit)
    weight = DEFAULT_OUTPUT_WEIGHT if limit.output_weight is None else limit.output_weight
    most = limit.most or 1  # of a share: Plan.refresh says how much before the first request
    period, per = _pace_of(most * scale, limit.seconds)
    output = {"output_tokens": 1, "tokens": 1, "weighted_tokens": round(weight * MILLI)}.get(limit.count, 0)
    id = rate_id(bound)
    return Rate(
        bucket=arena.bucket(id),
        period=period,
        burst=(limit.burst or most) * scale,
        per=per,
        request=1 if limit.count == "requests" else 0,
        input=scale if limit.count in ("input_tokens", "tokens", "weighted_tokens") else 0,
        output=output,
        family=UNTOLD if bound.owner.scope == "model" else _FAMILIES.get(limit.count, UNTOLD),
        scale=scale,
        meter=parts.meter(id) if parts is not None and limit.share is None else None,
    )


def fund_of(owner: Owner, budget: Budget) -> Fund:
    """A budget in the units that it is counted in."""
    kind: Kind = "money" if budget.tokens is None else "tokens"
    whole = budget.tokens if budget.tokens is not None else round(Decimal(repr(budget.amount or 0)) * NANO)
    levels = tuple(
        Level(one.percent, -(-whole * one.percent // 100), one.action, one.model) for one in budget.thresholds
    )
    stops = [level.amount for level in levels if level.action == "block"]
    stop = min(stops, default=whole if budget.hard else NO_BOUND)
    stop = min(stop, whole) if budget.hard else stop
    calendar = Calendar(budget.period, owner.time_zone)
    return Fund(owner, budget.name, kind, whole, stop, budget.hard, levels, calendar, budget.days or 1)


def purse_of(arena: Arena, fund: Fund) -> Purse:
    """What the arena counts a budget by, over all plans: `seed` it from a ledger that knows more than the arena."""
    return Purse(arena, fund_id(fund), fund.days)


def allowance_of(arena: Arena, fund: Fund, carry_over: float, parts: Parts | None = None) -> Allowance:
    """A budget as a limiter spends it; with `parts`, what this node may spend of it."""
    return Allowance(
        budget=purse_of(arena, fund),
        kind=fund.kind,
        whole=fund.whole,
        limit=fund.stop if fund.hard else NO_BOUND,
        stop=fund.stop,
        carry=int(fund.whole * carry_over) if parts is None else 0,  # no node knows what all of them left
        ahead=fund.calendar.ahead,
        caps=parts.caps(fund_id(fund)) if parts is not None and fund.hard else None,
    )
