"""What `_native.facts` does, in plain Python over the arena's own handles: the oracle of its property tests."""

import math
import struct
from collections.abc import Iterable, MutableSequence, Sequence
from typing import Final

from _native.arena import Arena

PART_FRESH: Final = 1.0
SAMPLE_STALE: Final = 5.0
SAMPLE_HALF_LIFE: Final = 5.0
SAME: Final = 1e-6
FAR: Final = 3600.0
FAILED: Final = 2
_MIX: Final = 0x9E3779B97F4A7C15
_ALL: Final = (1 << 64) - 1

Row = tuple[int, bytes, bytes, bytes, bytes, float]
Reals = MutableSequence[float]
Whole = MutableSequence[int]


def part_id(id: bytes, worker: int) -> bytes:
    """Where a worker tells what it has running."""
    low, high = struct.unpack("<QQ", id)
    return struct.pack("<QQ", low ^ ((worker + 1) * _MIX & _ALL), high)


def _bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def _amount(value: float) -> bool:
    return math.isfinite(value) and value >= 0


class Facts:
    """See `_native.facts.Facts`."""

    def __init__(self, arena: Arena, rows: Sequence[Row]) -> None:
        self._arena = arena
        self._rows = rows
        self._workers: list[int] = []
        self._last = 0.0
        self._held = [(0.0, 0.0)] * len(rows)  # the exclusion that a probe brought, and what was there before

    def meet(self, workers: Iterable[int]) -> None:
        self._workers = [worker for worker in workers if worker != self._arena.slot]

    def copy(
        self, in_flight: Whole, in_flight_elsewhere: Whole, tokens: Reals, tokens_elsewhere: Reals, queued: Reals,
        kv_usage: Reals, throughput: Reals, sampled_at: Reals, ttft: Reals, ttft_at: Reals, out_until: Reals,
        ramp_from: Reals, now: float,
    ) -> int:  # fmt: skip
        fade = 2 ** (-(now - self._last) / SAMPLE_HALF_LIFE) if now > self._last > 0 else 1.0
        self._last = now
        for number, (slot, id, sample, probe, first, configured) in enumerate(self._rows):
            mine = self._arena.pair(part_id(id, self._arena.slot))
            mine.set(int(now * 1e9), max(0, in_flight[slot]) << 32 | int(max(0.0, tokens[slot])))
            in_flight_elsewhere[slot], tokens_elsewhere[slot] = self._gather(id, now)
            self._sample(sample, slot, queued, kv_usage, throughput, sampled_at, configured, now, fade)
            self._held[number] = self._probe(probe, self._held[number], slot, out_until, ramp_from, now)
            self._ttft(first, slot, ttft, ttft_at, now)
        return sum(own > 0 or self._is_out(row[3], now) for (own, _), row in zip(self._held, self._rows, strict=True))

    def withdraw(self) -> None:
        for _, id, *_ in self._rows:
            pair = self._arena.pair(part_id(id, self._arena.slot))
            pair.set(pair.read()[0], 0)

    def _gather(self, id: bytes, now: float) -> tuple[int, float]:
        parts = [self._arena.pair(part_id(id, worker)).read() for worker in self._workers]
        fresh = [value for stamp, value in parts if abs(now - stamp * 1e-9) < PART_FRESH]
        return sum(value >> 32 for value in fresh), float(sum(value & 0xFFFFFFFF for value in fresh))

    def _sample(
        self, id: bytes, slot: int, queued: Reals, kv_usage: Reals, throughput: Reals, sampled_at: Reals,
        configured: float, now: float, fade: float,
    ) -> None:  # fmt: skip
        found = self._arena.sample(id).read()
        stamp, values = found if found is not None else (0, (0.0,) * 5)
        at = stamp * 1e-9
        if sampled_at[slot] < at < now + PART_FRESH and all(map(_amount, values[:3])):
            queued[slot], kv_usage[slot], sampled_at[slot] = values[0], min(values[1], 1.0), at
            throughput[slot] = values[2] or configured
        if sampled_at[slot] == 0 or throughput[slot] <= 0:
            throughput[slot] = configured
        elif now - sampled_at[slot] > SAMPLE_STALE:
            throughput[slot] = configured + (throughput[slot] - configured) * fade

    def _probe(
        self, id: bytes, held: tuple[float, float], slot: int, out_until: Reals, ramp_from: Reals, now: float
    ) -> tuple[float, float]:
        word = self._arena.word(id).value
        until, (own, under) = (word >> 16) * 1e-3, held
        if word & 3 == FAILED and now < until < now + FAR:
            if out_until[slot] != own:
                under = out_until[slot]
            if out_until[slot] == own or out_until[slot] < until:
                own = out_until[slot] = max(until, under)
            return own, under
        if own > 0:
            if out_until[slot] == own:
                out_until[slot] = under
            if out_until[slot] <= now:
                ramp_from[slot] = now
        return 0.0, 0.0

    def _is_out(self, id: bytes, now: float) -> bool:
        word = self._arena.word(id).value
        return word & 3 == FAILED and now < (word >> 16) * 1e-3 < now + FAR

    def _ttft(self, id: bytes, slot: int, ttft: Reals, ttft_at: Reals, now: float) -> None:
        cell = self._arena.pair(id)
        stamp, bits = cell.read()
        at = stamp * 1e-9
        if ttft_at[slot] > at + SAME:
            if _amount(ttft[slot]) and ttft_at[slot] < now + PART_FRESH:
                cell.set(int(ttft_at[slot] * 1e9), _bits(ttft[slot]))
        elif ttft_at[slot] + SAME < at < now + PART_FRESH:
            value = struct.unpack("<d", struct.pack("<Q", bits))[0]
            if _amount(value):
                ttft[slot], ttft_at[slot] = value, at
