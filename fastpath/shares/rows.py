"""How a shared limit is counted in the arena of a node, and how the node's part of it is put there.

Owns what a node wants of each kind, from what was used and refused lately. Does not own what it gets (`lease`,
`script`). Used by one task; workers use the same rows of the arena meanwhile.

    RateRow  in billionths of the rate. Its bucket's debt goes along with a part: who gets half of a bucket that is
             spent gets it spent, so that moving a part gives nobody a second burst.
    SlotRow  in places.
    FundRow  one budget in one period, in tokens or in micro-units of money. Its cap is lowered exactly: what it loses
             is reserved first, as a request would.
"""

import math
from typing import Final, Protocol

from _native.arena import Arena, Pair
from _native.limiter import ANY_PERIOD, Limiter, Ticket
from fastpath.limits.calendar import Span
from fastpath.limits.parts import LEAST, MOST_DEPTH, WHOLE, Parts
from fastpath.limits.plan import MILLI, SECOND, Bound, Fund, allowance_of, fund_id, purse_of, rate_id, slots_id
from fastpath.shares.lease import Lease, Want
from fastpath.shares.memory import Held

SMOOTH: Final = 2.0
"""Seconds of the mean that is taken of use; longer for limits of which a unit comes back seldom."""
LONGEST_SMOOTH: Final = 60.0
AHEAD: Final = 5.0
"""Seconds of a budget's use that a node wants to hold beside what it committed."""
HOT: Final = 10.0
MOST_OWED: Final = 1 << 47
"""ns that a bucket can owe, as the arena has it."""
GRAIN: Final = {"money": 1_000, "tokens": 1}
DAY_MS: Final = 86_400_000
SOFT_KEEP: Final = 3_600_000


class Row(Protocol):
    """A shared limit on this node."""

    id: str
    kind: str
    lease: Lease
    keep_for: int
    hot_until: float

    def look(self, now: float) -> Want:
        """What it uses and wants, at monotonic seconds that only grow."""
        ...

    def apply(self, part: int, now: float, gained: int, debt: int) -> int:
        """Has workers use `part`, of which so much came with that debt; gives the part that they do use."""
        ...

    def fall_back(self, nodes: int, now: float) -> int:
        """Has workers use the fair part among so many nodes; gives it."""
        ...


class RateRow:
    """A limit per time."""

    kind = "rate"
    keep_for = SOFT_KEEP

    def __init__(self, arena: Arena, parts: Parts, bound: Bound, now: float) -> None:
        id = rate_id(bound)
        limit = bound.limit
        scale = MILLI if limit.count == "weighted_tokens" else 1
        most = limit.most or 1
        self.id = id.hex()
        self.hot_until = 0.0
        self._per_second = most * scale / limit.seconds
        self._depth = min(round((limit.burst or most) / most * limit.seconds * SECOND), MOST_DEPTH)
        self._bucket, self._word, self._meter = arena.bucket(id), parts.share(id), parts.meter(id)
        self._counted = (0, 0)
        self._counted = self._read()
        self._at = now
        self._used = self._refused = 0.0
        self._smooth = min(max(SMOOTH, 20 / self._per_second), LONGEST_SMOOTH)
        self.lease = Lease(WHOLE, hard=False, held=min(self._word.value, WHOLE))

    def look(self, now: float) -> Want:
        elapsed = now - self._at
        if elapsed > 0:
            before, self._counted, self._at = self._counted, self._read(), now
            used, refused = (_signed(new - old) for new, old in zip(self._counted, before, strict=True))
            weight = 1 - math.exp(-elapsed / self._smooth)
            scale = 1 / elapsed / self._per_second
            self._used += (max(0, used) * scale - self._used) * weight
            self._refused += (max(0, refused) * scale - self._refused) * weight
            if used > 0 or refused > 0:
                self.hot_until = now + HOT
        debt = self._debt(now)
        behind = self.lease.kept / WHOLE * min(1.0, debt / self._depth)
        wanted = 0.8 * self._used + 0.5 * behind + 1.1 * self._refused
        return Want(0, min(WHOLE, LEAST + round(wanted * WHOLE)), debt)

    def apply(self, part: int, now: float, gained: int, debt: int) -> int:
        part = min(max(part, LEAST), WHOLE)
        own = self.lease.kept
        if gained > 0 and own > 0:
            before = self._debt(now)
            after = (own * before + gained * debt) // (own + gained)
            self._bucket.correct(int(now * SECOND), after - before, 1)
        self._word.set(part)
        return part

    def fall_back(self, nodes: int, now: float) -> int:
        part = max(LEAST, WHOLE // max(1, nodes))
        return self.apply(part, now, part - self.lease.kept, min(self._debt(now), self._depth))

    def _debt(self, now: float) -> int:
        _, _, left = self._bucket.take(int(now * SECOND), 0, 1, MOST_DEPTH)
        return min(max(0, MOST_DEPTH - left), MOST_OWED)

    def _read(self) -> tuple[int, int]:
        """Units admitted and refused so far."""
        for _ in range(8):
            refused, used = self._meter.read()
            if self._meter.read()[0] == refused:  # or it changed meanwhile, and `used` may not be what belongs to it
                return used, refused
        return self._counted


class SlotRow:
    """A limit of what runs at once."""

    kind = "slots"
    keep_for = SOFT_KEEP

    def __init__(self, arena: Arena, parts: Parts, bound: Bound, now: float) -> None:
        id = slots_id(bound)
        self.id = id.hex()
        self.hot_until = 0.0
        self._most = bound.limit.most or 1
        self._limit, self._word, self._missed = arena.limit(id), parts.places(id), parts.missed(id)
        self._at, self._counted, self._peak = now, self._missed.value, 0.0
        self._short = 0
        held = min(max(self._word.value - 1, self._limit.in_use), self._most)
        self.lease = Lease(self._most, hard=False, held=max(0, held))

    def look(self, now: float) -> Want:
        used, missed = self._limit.in_use, self._missed.value
        self._peak = max(used, self._peak * math.exp((self._at - now) / SMOOTH))
        if missed != self._counted:
            self._short, self.hot_until = missed - self._counted, now + SMOOTH
        elif now >= self.hot_until:
            self._short = 0
        if used:
            self.hot_until = max(self.hot_until, now + SMOOTH)
        self._at, self._counted = now, missed
        spare = 1 + int(self._peak) // 8 if self._peak >= 1 else 0
        return Want(min(used, self._most), min(self._most, math.ceil(self._peak) + spare + max(0, self._short)))

    def apply(self, part: int, now: float, gained: int, debt: int) -> int:
        self._word.set(part + 1)
        return part

    def fall_back(self, nodes: int, now: float) -> int:
        return self.apply(max(1, self._most // max(1, nodes)), now, 0, 0)


class FundRow:
    """A hard budget in one period. `future`: it has not begun, so nothing of it is given back yet."""

    kind = "budget"

    def __init__(self, arena: Arena, parts: Parts, fund: Fund, span: Span, known: Held | None, clean: bool, now: float):
        rolling = fund.days > 1
        id = fund_id(fund)
        self._stamp = ANY_PERIOD if rolling else span.number
        self.id = self.name(fund, span)
        self.until = math.inf if rolling else span.until
        self.since = 0.0 if rolling else span.since
        self.keep_for = (fund.days + 1 if rolling else 70) * DAY_MS
        self.hot_until = 0.0
        self.future = False
        self._grain = GRAIN[fund.kind]
        self._fund = fund
        self._limiter = Limiter(arena, budgets=[allowance_of(arena, fund, 0.0, parts)])
        self._limiter.turn(0, span.number, span.previous)
        self._cap = _cell_for(parts.caps(id), self._stamp)
        self._others, self._missed = parts.others(id), parts.missed(id)
        self._at, self._rate, self._short = now, 0.0, 0
        stamp, cap = self._cap.read()
        held = cap // self._grain if stamp == self._stamp else 0
        if stamp != self._stamp and known is not None:  # the arena lost what was spent: all that may have been, was
            held = known.held
            purse_of(arena, fund).seed(span.number, (known.used if clean else held) * self._grain)
        self.lease = Lease(self.total_of(fund), hard=True, held=held)
        self._before = self.used
        self.lease.keep(max(held, self._before), now)  # what was spent before it was shared
        if known is not None:
            self.lease.remembered, self.lease.nodes = known.total, known.nodes
        self._cap.set(self._stamp, self.lease.kept * self._grain)

    @staticmethod
    def name(fund: Fund, span: Span) -> str:
        """The id of a budget in a period."""
        return f"{fund_id(fund).hex()}:{'rolling' if fund.days > 1 else span.number}"

    @staticmethod
    def total_of(fund: Fund) -> int:
        """All of it, in grains."""
        return int(fund.stop // GRAIN[fund.kind])

    @property
    def used(self) -> int:
        """What is committed here, in grains, rounded up."""
        return max(0, -(-self._limiter.committed(0)[0] // self._grain))

    @property
    def held(self) -> Held:
        """What to remember of it."""
        most = (1 << 53) - 1
        lease = self.lease
        return Held(min(lease.held, most), min(self.used, most), min(lease.remembered, most), lease.nodes)

    def turn(self, span: Span) -> None:
        """The day of a rolling budget went on."""
        self._limiter.turn(0, span.number, span.previous)

    def look(self, now: float) -> Want:
        used, elapsed = self.used, now - self._at
        if elapsed > 0:
            weight = 1 - math.exp(-elapsed / SMOOTH)
            self._rate += (max(0, used - self._before) / elapsed - self._rate) * weight
            missed = self._missed.value
            if missed:
                self._missed.compare_and_set(missed, 0)
                self._short, self.hot_until = -(-missed // self._grain), now + HOT
            elif now >= self.hot_until:
                self._short = 0
            if used != self._before:
                self.hot_until = now + HOT
            self._at, self._before = now, used
        spare = max(math.ceil(self._rate * AHEAD), 2 * self._short)
        return Want(used, min(used + spare, max(used, self.lease.total)))

    def apply(self, part: int, now: float, gained: int, debt: int) -> int:
        lost = (self.lease.kept - part) * self._grain
        if lost > 0 and not self._withdraw(lost, part, now):
            return self.lease.kept
        self._cap.set(self._stamp, part * self._grain)
        return part

    def tell_others(self) -> None:
        """Lets workers know what other nodes used of it."""
        if not self.future:
            self._others.set(self._stamp, self.lease.others_used * self._grain)

    def fall_back(self, nodes: int, now: float) -> int:
        return self.lease.kept

    def _withdraw(self, amount: int, part: int, now: float) -> bool:
        """Lowers the cap while the amount is reserved, so that nobody commits beyond the new one."""
        if self.future:
            return False
        moment = int(now * SECOND)
        tokens, money = (amount, 0) if self._fund.kind == "tokens" else (0, amount)
        ticket = self._limiter.admit(moment, moment + 60 * SECOND, tokens, 0, money)
        if not isinstance(ticket, Ticket):
            return False
        self._cap.set(self._stamp, part * self._grain)
        ticket.void(moment)
        return True


def _cell_for(caps: tuple[Pair, Pair], stamp: int) -> Pair:
    """The cell of a period: its own, or that of the older of two."""
    first, second = (pair.read()[0] for pair in caps)
    if stamp in (first, second):
        return caps[0] if first == stamp else caps[1]
    return caps[0] if first <= second else caps[1]


def _signed(difference: int) -> int:
    """Of two counts of 64 bits that wrap, and that corrections may take back."""
    difference &= (1 << 64) - 1
    return difference - (1 << 64) if difference >> 63 else difference
