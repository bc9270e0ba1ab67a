"""The twin of `_native.load`, written to be read: see its .pyi for the contract."""

from array import array
from collections.abc import Mapping
from math import exp, isfinite, log
from typing import Any

LAMBDA = 0.15
FULLEST = 0.999
USUAL = 2_000.0
SLOWEST = 1e-3
FASTEST = 1e9
MOST = 1e12
RUNNING = 0.010
FRESH = 5.0
TIE = 0.005
TAU = 10.0
TURN = 1 << 24
BOUND = 1.25
ALL = (1 << 64) - 1


def sane(value: float, most: float) -> float:
    return min(value, most) if value > 0.0 else 0.0


def score(key: int, identity: int, weight: int) -> float:
    bits = (key ^ (identity * 0x9E3779B97F4A7C15)) & ALL
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & ALL
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & ALL
    bits ^= bits >> 31
    return -weight / log(((bits >> 11) + 0.5) * 2.0**-53)


class Load:
    def __init__(self, columns: "Mapping[str, array[Any]]") -> None:
        self._is = columns

    def _check(self, slot: int) -> None:
        if not 0 <= slot < len(self._is["in_flight"]):
            raise IndexError(f"no endpoint has slot {slot}")

    def send(self, slot: int, tokens: int) -> float:
        self._check(slot)
        table = self._is
        told: float = table["sampled_at"][slot]
        if table["counted_at"][slot] != told:
            table["counted_at"][slot], table["since"][slot] = told, 0.0
        table["in_flight"][slot] += 1
        table["tokens"][slot] += tokens
        table["since"][slot] += tokens
        return told

    def settle(self, slot: int, tokens: int, mark: float) -> None:
        self._check(slot)
        self._is["tokens"][slot] -= tokens
        if mark == self._is["counted_at"][slot]:
            self._is["since"][slot] -= tokens

    def end(self, slot: int) -> None:
        self._check(slot)
        self._is["in_flight"][slot] -= 1

    def observe(self, slot: int, seconds: float, now: float) -> None:
        self._check(slot)
        if not (seconds >= 0.0 and isfinite(seconds)):
            return
        mean = self._is["ttft"][slot]
        if mean > seconds:
            keep = exp(-max(0.0, now - self._is["ttft_at"][slot]) / TAU)
            seconds = mean * keep + seconds * (1.0 - keep)
        self._is["ttft"][slot], self._is["ttft_at"][slot] = seconds, now

    def observe_most(self, slot: int, seconds: float, now: float) -> bool:
        self._check(slot)
        if not seconds < self._is["ttft"][slot]:
            return False
        self.observe(slot, seconds, now)
        return True

    def note(self, slot: int, stamp: float, queued: float, kv_usage: float, throughput: float) -> bool:
        self._check(slot)
        if not (isfinite(stamp) and stamp > self._is["sampled_at"][slot]):
            return False
        if not (0.0 <= queued <= MOST and 0.0 <= kv_usage <= 1.0 and 0.0 <= throughput <= FASTEST):
            return False
        self._is["queued"][slot], self._is["kv_usage"][slot], self._is["sampled_at"][slot] = queued, kv_usage, stamp
        if throughput >= 1.0:
            self._is["throughput"][slot] = throughput
        return True

    def waiting(self, slot: int, now: float) -> float:
        self._check(slot)
        table = self._is
        ours = sane(table["tokens"][slot] + table["tokens_elsewhere"][slot], MOST)
        at = table["sampled_at"][slot]
        if not at > 0.0:
            return ours
        told = sane(sane(table["queued"][slot], MOST) - self.speed(slot) * max(0.0, now - at), MOST)
        if table["counted_at"][slot] == at:
            told += sane(table["since"][slot], MOST)
        return max(told, ours)

    def seconds(self, slot: int, tokens: int, now: float) -> float:
        return (self.waiting(slot, now) + tokens) / self.speed(slot) + self.beside(slot, now)

    def least(self, slots: list[int], tokens: int, now: float) -> int:
        weights, costs = self._weights(slots), {}
        for slot, weight in weights.items():
            load = self.waiting(slot, now) / self.speed(slot) + self.beside(slot, now)
            costs[slot] = load * max(weights.values()) / weight + tokens / self.speed(slot)
        return self._next_of(costs, min(costs.values()) + TIE, weights)

    def fewest(self, slots: list[int]) -> int:
        weights, turn = self._weights(slots), self._is["turn"]
        best = min(weights, key=lambda slot: ((self._running(slot) + 1.0) / weights[slot], turn[slot]))
        turn[best] = max(0, *(turn[slot] for slot in slots)) + 1
        return best

    def home(self, slots: list[int], key: int) -> int:
        weights = self._weights(slots)
        each = BOUND * (sum(self._running(slot) for slot in weights) + 1.0) / sum(weights.values())
        within = [slot for slot in weights if self._running(slot) < each * weights[slot]]
        return max(within or weights, key=lambda slot: score(key, self._is["identity"][slot], weights[slot]))

    def _weights(self, slots: list[int]) -> dict[int, int]:
        """Who may be picked, and what each weighs."""
        if not slots:
            raise ValueError("no endpoint to choose from")
        for slot in slots:
            self._check(slot)
        found = {slot: self._is["weight"][slot] for slot in slots if self._is["weight"][slot] > 0}
        return found or dict.fromkeys(slots, 1)

    def _running(self, slot: int) -> float:
        return sane(float(self._is["in_flight"][slot] + self._is["in_flight_elsewhere"][slot]), MOST)

    def _next_of(self, costs: dict[int, float], most: float, weights: dict[int, int]) -> int:
        turn = self._is["turn"]
        now = max(-TURN, *(turn[slot] - TURN // weights[slot] for slot in costs))
        tied = [slot for slot, cost in costs.items() if cost <= most]
        best = min(tied, key=lambda slot: (max(turn[slot], now), turn[slot]))
        turn[best] = max(turn[best], now) + TURN // weights[best]
        return best

    def speed(self, slot: int) -> float:
        told = sane(self._is["throughput"][slot], FASTEST)
        return told if told >= SLOWEST else USUAL

    def beside(self, slot: int, now: float) -> float:
        running = self._running(slot) * RUNNING
        at = self._is["sampled_at"][slot]
        if not at > 0.0:
            return running
        trust: float = 2.0 ** min(0.0, (FRESH - (now - at)) / FRESH)
        told = sane(self._is["kv_usage"][slot], FULLEST)
        return trust * LAMBDA * told / (1.0 - told) + (1.0 - trust) * running
