"""Pure twin of the limiter kernel: what is admitted, what it holds, and what budgets have left, without races.

Owns the meaning of periods: a calendar budget has one sum under one number, a rolling one a sum per day; no period
starts twice, whatever clocks say. One process plays all workers, as in the arena's twin, whose places and buckets these
are.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from _native.arena import Refusal
from _native.reference.arena import Arena, Bucket, Lease, Limit, clamp, span


class Rate(NamedTuple):
    bucket: Bucket
    period: int
    burst: int
    per: int = 1
    request: int = 1
    input: int = 0
    output: int = 0
    family: int = 0
    scale: int = 1


class Allowance(NamedTuple):
    budget: "Budget"
    kind: Literal["tokens", "money"]
    whole: int
    limit: int
    stop: int
    carry: int = 0
    ahead: int = 2


class Budget:
    """Sums by period. `reserved` is what of them runs still."""

    def __init__(self, days: int = 1) -> None:
        self.days = days
        self.sums: dict[int, int] = {}
        self.reserved: dict[int, int] = {}

    def newest(self, period: int, ahead: int) -> int:
        newest = max([period, *self.sums])
        return newest if newest <= period + ahead else period

    def live(self, newest: int) -> dict[int, int]:
        """Sums of the days that count. What lies far ahead counts as the day whose place it has."""
        aligned = {
            day if day <= newest else newest - (newest - day) % self.days: total for day, total in self.sums.items()
        }
        return {day: total for day, total in aligned.items() if newest - self.days < day}

    def carried(self, allowance: Allowance, previous: int) -> int:
        """What a calendar period begins with."""
        if self.days > 1 or not self.sums:
            return 0
        (last, total), *_ = self.sums.items()
        left = allowance.whole - total if last == previous else allowance.whole
        return -clamp(left, 0, allowance.carry)

    def committed(self, allowance: Allowance, period: int, previous: int) -> int:
        newest = self.newest(period, allowance.ahead)
        live = self.live(newest)
        return sum(live.values()) + (0 if newest in live else self.carried(allowance, previous))

    def add(self, allowance: Allowance, period: int, previous: int, amount: int, reserved: int) -> int:
        """Adds to the newest period; gives its number."""
        newest = self.newest(period, allowance.ahead)
        live = self.live(newest)
        base = live[newest] if newest in live else self.carried(allowance, previous)
        if self.days == 1:  # a period begins with nothing running; a window never begins
            self.reserved = {newest: sum(self.reserved.values()) if newest in live else 0}
        self.sums = {**live, newest: base + amount}
        self.reserved[newest] = self.reserved.get(newest, 0) + reserved
        return newest

    def give_back(self, period: int, reserved: int, spent: int) -> None:
        if period in self.sums:
            self.sums[period] += spent - reserved
        if period in self.reserved:
            self.reserved[period] -= reserved

    def seed(self, period: int, spent: int) -> None:
        if any(day > period for day in self.sums):
            return
        wanted = spent + (sum(self.reserved.values()) if period in self.sums else 0)
        self.sums = {day: total for day, total in self.sums.items() if period - self.days < day}
        self.sums[period] = max(self.sums.get(period, wanted), wanted)


class Ticket:
    """What a request holds: a lease, a reservation in each budget, and what it was charged."""

    def __init__(
        self, limiter: "Limiter", lease: Lease, tokens: tuple[int, int], periods: list[int], money: int
    ) -> None:
        self.limiter = limiter
        self.lease = lease
        self.tokens = tokens
        self.periods = periods
        self.reserved = {"tokens": sum(tokens), "money": money}
        self.spent = {"tokens": 0, "money": 0}
        self.ended = False
        self.returned = False

    def give_back(self) -> None:
        """The lease ended, by whoever: budgets are charged what was marked."""
        if self.returned:
            return
        self.returned = True
        for allowance, period in zip(self.limiter.budgets, self.periods, strict=True):
            allowance.budget.give_back(period, self.reserved[allowance.kind], self.spent[allowance.kind])

    def settle(self, now: int, input: int, output: int, money: int) -> None:
        before, self.spent = self.spent, {"tokens": input + output, "money": money}
        self.ended = True
        if self.lease.release():
            self.give_back()
        else:
            self.limiter.spend({kind: self.spent[kind] - before[kind] for kind in before})
        self.correct(now, (input, output), 1)

    def void(self, now: int) -> None:
        self.ended = True
        if self.lease.release():
            self.spent = {"tokens": 0, "money": 0}
            self.give_back()
        self.correct(now, (0, 0), 0)

    def drop(self) -> None:
        self.ended = True
        if self.lease.release():
            self.give_back()

    def mark(self, tokens: int, money: int) -> None:
        if self.lease.held:
            self.spent = {"tokens": tokens, "money": money}

    def correct(self, now: int, tokens: tuple[int, int], requests: int) -> None:
        for rate in self.limiter.rates:
            missed = cost_of(rate, *tokens, requests) - cost_of(rate, *self.tokens)
            rate.bucket.correct(now, missed, rate.period, rate.per)


def cost_of(rate: Rate, input: int, output: int, requests: int = 1) -> int:
    return rate.request * requests + rate.input * input + rate.output * output


class Limiter:
    """All budgets are in one period: whoever plays them all on one clock turns them together."""

    def __init__(
        self,
        arena: Arena,
        rates: Sequence[Rate] = (),
        slots: Sequence[tuple[Limit, int]] = (),
        budgets: Sequence[Allowance] = (),
    ) -> None:
        self.arena = arena
        self.rates = rates
        self.slots = slots
        self.budgets = budgets
        self.period = self.previous = 0

    def turn(self, period: int, previous: int) -> None:
        self.period, self.previous = period, previous

    def admit(self, now: int, expires: int, input: int, output: int, money: int) -> Ticket | Refusal:
        amounts = {"tokens": input + output, "money": money}
        refusal = self.refuse_rates(now, input, output) or self.refuse_places() or self.refuse_budgets(amounts)
        if refusal is not None:
            return refusal
        for rate in self.rates:
            rate.bucket.take(now, cost_of(rate, input, output), rate.period, rate.burst, rate.per)
        periods = [
            one.budget.add(one, self.period, self.previous, amounts[one.kind], amounts[one.kind])
            for one in self.budgets
        ]
        lease = Lease(self.arena.worker, expires, [limit for limit, _ in self.slots])
        ticket = Ticket(self, lease, (input, output), periods, money)
        if self.slots or self.budgets:
            self.arena.leases.append(lease)
        return ticket

    def spend(self, amounts: dict[str, int]) -> None:
        for one in self.budgets:
            one.budget.add(one, self.period, self.previous, amounts[one.kind], 0)

    def refuse_rates(self, now: int, input: int, output: int) -> Refusal | None:
        waits = [r.bucket.look(now, cost_of(r, input, output), r.period, r.burst, r.per)[1] for r in self.rates]
        if -1 in waits:
            return Refusal("rate", waits.index(-1), -1)
        longest = max(waits, default=0)
        return Refusal("rate", waits.index(longest), longest) if longest else None

    def refuse_places(self) -> Refusal | None:
        full = [place for place, (limit, most) in enumerate(self.slots) if limit.in_use >= most]
        return Refusal("slots", full[0], 0) if full else None

    def refuse_budgets(self, amounts: dict[str, int]) -> Refusal | None:
        for place, one in enumerate(self.budgets):
            committed = one.budget.committed(one, self.period, self.previous)
            if committed >= one.stop or committed + amounts[one.kind] > one.limit:
                return Refusal("budget", place, 0)
        if (self.slots or self.budgets) and len(self.arena.held()) >= self.arena.sizes.leases:
            return Refusal("full", -1, 0)
        return None

    def tightest(self, now: int, family: int) -> tuple[int, int, int] | None:
        found = [
            (rate.bucket.look(now, 0, rate.period, rate.burst, rate.per)[2] // rate.scale, place)
            for place, rate in enumerate(self.rates)
            if rate.family == family
        ]
        if not found:
            return None
        left, place = min(found)
        rate = self.rates[place]
        return place, left, rate.bucket.debt(now, span(rate.burst, rate.period, rate.per))
