"""Pure twin of the arena kernel: what its numbers mean, without shared memory, rows or races.

Owns: the arithmetic of bins, GCRA, EWMAs and all-or-nothing admission, and who holds which lease. One process plays all
workers: `join` starts another one, whose lanes and leases end in `reap`. A table is full when its rows are.
"""

import math
from collections.abc import Callable, Sequence
from hashlib import blake2b

from _native.arena import OTHER, RANGE_US, Refusal, Sizes

FAR = 1 << 61
MOST_DEBT = 1 << 47
Alive = Callable[[int, int], bool]


def digest(*words: str) -> bytes:
    parts = [word.encode("utf-8", "replace") for word in words]
    return blake2b(b"".join(b"%d:%b" % (len(part), part) for part in parts), digest_size=16).digest()


def bin_of(value: int) -> int:
    """The number of a duration's bin: 64 per octave, single values below 128."""
    value = min(value, RANGE_US - 1)
    shift = max(0, value.bit_length() - 7)
    return (shift << 6) + (value >> shift)


def bin_middle(number: int) -> float:
    shift = max(0, (number >> 6) - 1)
    low = (number - (shift << 6)) << shift
    return low + ((1 << shift) - 1) / 2


class Histogram:
    def __init__(self) -> None:
        self.values: list[int] = []

    def record(self, value_us: int) -> None:
        self.values.append(value_us)

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def sum_us(self) -> int:
        return sum(self.values)

    def quantile(self, q: float) -> float:
        ranked = sorted(self.values)
        return bin_middle(bin_of(ranked[max(1, math.ceil(q * len(ranked))) - 1])) if ranked else 0.0

    def cumulative(self, bounds_us: Sequence[float]) -> list[int]:
        middles = [bin_middle(bin_of(value)) for value in self.values]
        return [sum(middle <= bound for middle in middles) for bound in bounds_us]


def clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


def span(units: int, period: int, per: int = 1) -> int:
    """What so many units cost in ns, rounded up."""
    return min(-(-units * period // per), FAR)


class Bucket:
    """GCRA: `time` is when the bucket will owe nothing. A unit costs `period / per` ns."""

    def __init__(self, full: bool = False) -> None:
        self.time = 0
        self.full = full

    def debt(self, now: int, depth: int) -> int:
        return clamp(self.time - now, 0, depth + MOST_DEBT)

    def look(self, now: int, cost: int, period: int, burst: int, per: int = 1) -> tuple[bool, int, int]:
        depth, need = span(burst, period, per), span(cost, period, per)
        room = depth - self.debt(clamp(now, 0, FAR), depth)
        if need > depth or cost > burst:
            return False, -1, min(max(0, room) * per // period, FAR)
        if need > room:
            return False, need - room, min(max(0, room) * per // period, FAR)
        return True, 0, min((room - need) * per // period, FAR)

    def take(self, now: int, cost: int, period: int, burst: int, per: int = 1) -> tuple[bool, int, int]:
        if self.full:
            return False, 0, 0
        answer = self.look(now, cost, period, burst, per)
        if answer[0] and cost:
            depth = span(burst, period, per)
            self.time = clamp(now, 0, FAR) + self.debt(clamp(now, 0, FAR), depth) + span(cost, period, per)
        return answer

    def correct(self, now: int, cost: int, period: int, per: int = 1) -> None:
        now = clamp(now, 0, FAR)
        need = span(abs(cost), period, per)
        debt = self.debt(now, FAR) + (need if cost > 0 else -need)
        self.time = now + clamp(debt, 0, FAR)


class Limit:
    def __init__(self, full: bool = False) -> None:
        self.in_use = 0
        self.full = full


class Lease:
    def __init__(self, owner: int, expires: int, limits: list[Limit]) -> None:
        self.owner = owner
        self.expires = expires
        self.limits = limits
        self.held = True
        for limit in limits:
            limit.in_use += 1

    def release(self) -> bool:
        was_held, self.held = self.held, False
        for limit in self.limits if was_held else ():
            limit.in_use -= 1
        return was_held

    def renew(self, expires: int) -> bool:
        self.expires = expires if self.held else self.expires
        return self.held


class Ewma:
    def __init__(self) -> None:
        self.value = 0.0
        self.stamp = 0

    def update(self, now: int, sample: float, tau: int) -> float:
        if not (sample >= 0 and math.isfinite(sample)) or now <= 0:
            return self.value
        keep = math.exp(-max(0, now - self.stamp) / tau) if self.stamp and tau > 0 else 0.0
        self.value = self.value * keep + sample * (1.0 - keep) if sample <= self.value else sample
        self.stamp = max(self.stamp, now)
        return self.value


class Arena:
    """One node. `worker` is the one that acts; tests switch it to play another."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.worker = -1
        self.joined: dict[int, tuple[int, int]] = {}
        self.buckets: dict[bytes, Bucket] = {}
        self.limits: dict[bytes, Limit] = {}
        self.leases: list[Lease] = []
        self.counters: dict[str, dict[tuple[str, ...], int]] = {}

    def join(self, pid: int, start: int) -> int:
        slot = next(slot for slot in range(self.sizes.workers) if slot not in self.joined)
        self.joined[slot] = (pid, start)
        self.worker = slot
        return slot

    def reap(self, now: int, alive: Alive) -> tuple[int, int]:
        dead = {slot for slot, owner in self.joined.items() if not alive(*owner)}
        for slot in dead:
            del self.joined[slot]
        ended = [lease for lease in self.held() if lease.owner in dead or lease.expires <= now]
        for lease in ended:
            lease.release()
        return len(dead), len(ended)

    def held(self) -> list[Lease]:
        self.leases = [lease for lease in self.leases if lease.held]
        return self.leases

    def bucket(self, id: bytes) -> Bucket:
        if id not in self.buckets and len(self.buckets) >= self.sizes.buckets:
            return Bucket(full=True)
        return self.buckets.setdefault(id, Bucket())

    def limit(self, id: bytes) -> Limit:
        if id not in self.limits and len(self.limits) >= self.sizes.limits:
            return Limit(full=True)
        return self.limits.setdefault(id, Limit())

    def count(self, family: str, labels: tuple[str, ...], n: int) -> None:
        """Counts under `labels` while its family, of at most family_limit label sets, has room."""
        rows = self.counters.setdefault(family, {})
        room = labels in rows or len([row for row in rows if set(row) != {OTHER}]) < self.sizes.family_limit
        key = labels if room else (OTHER,) * len(labels)
        rows[key] = rows.get(key, 0) + n


class Gate:
    def __init__(
        self,
        arena: Arena,
        rates: Sequence[tuple[Bucket, int, int]] = (),
        slots: Sequence[tuple[Limit, int]] = (),
    ) -> None:
        self.arena = arena
        self.rates = rates
        self.slots = slots

    def admit(self, now: int, expires: int, costs: Sequence[int]) -> Lease | Refusal:
        refusal = self.refuse_rates(now, costs) or self.refuse_slots()
        if refusal is not None:
            return refusal
        for (bucket, period, burst), cost in zip(self.rates, costs, strict=True):
            bucket.take(now, cost, period, burst)
        lease = Lease(self.arena.worker, expires, [limit for limit, _ in self.slots])
        if self.slots:
            self.arena.leases.append(lease)
        return lease

    def refuse_rates(self, now: int, costs: Sequence[int]) -> Refusal | None:
        if any(bucket.full for bucket, _, _ in self.rates):
            return Refusal("full", -1, 0)
        waits = [b.look(now, cost, p, burst)[1] for (b, p, burst), cost in zip(self.rates, costs, strict=True)]
        if -1 in waits:
            return Refusal("rate", waits.index(-1), -1)
        longest = max(waits, default=0)
        return Refusal("rate", waits.index(longest), longest) if longest else None

    def refuse_slots(self) -> Refusal | None:
        if any(limit.full for limit, _ in self.slots):
            return Refusal("full", -1, 0)
        full = [place for place, (limit, most) in enumerate(self.slots) if limit.in_use >= most]
        if full:
            return Refusal("slots", full[0], 0)
        return Refusal("full", -1, 0) if self.slots and len(self.arena.held()) >= self.arena.sizes.leases else None
