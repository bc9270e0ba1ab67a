"""The five steps and the score in plain Python: the oracle of `_native.score`, with the same names and results."""

import struct
from array import array
from collections.abc import Mapping, Sequence
from math import inf, isfinite
from types import SimpleNamespace
from typing import Any

from _native.reference.load import Load

KEPT, TIER, REGION, PINNED = range(4)
PATH, CONTEXT, CONTEXT_UNKNOWN, LACKS = range(10, 14)
UNDECLARED, FILTERED = 19, 20
TRIED, OUT, FULL, LATE, WAITS = range(30, 35)
CEILING, NO_PRICE, NOT_NEEDED, SPARE = range(40, 44)
FACTS = (
    "slot",
    "kind",
    "tier",
    "supports",
    "quality",
    "context",
    "connections",
    "input",
    "output",
    "request",
    "long_from",
    "long_input",
    "long_output",
)
LONGEST, DEAREST, EQUAL = 1e9, 1e18, 1e-9


def unit(value: float) -> float:
    return min(value, 1.0) if value > 0 else 0.0


def bounded(value: float, most: float) -> float:
    return value if 0 <= value <= most else most


class Live:
    def __init__(self, columns: "Mapping[str, array[Any]]", load: Load) -> None:
        for name in ("in_flight", "kv_usage", "sampled_at", "ttft", "ttft_at", "ttft_prior", "out_until"):
            if columns[name].typecode != ("q" if name == "in_flight" else "d"):
                raise ValueError(name)
            setattr(self, name, columns[name])
        self.load = load

    def waiting(self, slot: int, now: float) -> float:
        return self.load.waiting(slot, now) / self.load.speed(slot)

    def predicted(self, slot: int, prompt: float, now: float) -> float:
        live: Any = self
        if not 0 <= slot < len(live.out_until):
            raise IndexError(slot)
        queue: float = self.waiting(slot, now) + prompt / self.load.speed(slot) + self.load.beside(slot, now)
        prior = live.ttft_prior[slot] if live.ttft_prior[slot] > 0 else queue
        measured, at = live.ttft[slot], live.ttft_at[slot]
        if at == 0 or not isfinite(measured):
            return bounded(max(queue, prior), LONGEST)
        trust = 2.0 ** (-max(0.0, now - at) / 10.0)
        return bounded(max(queue, trust * measured + (1 - trust) * prior), LONGEST)


class Plan:
    def __init__(
        self,
        weights: Sequence[float],
        table: Sequence[float],
        slo: float,
        deadline: float,
        ceiling: float = inf,
        saturation: float = 1.0,
        stale: float = 5.0,
        local_first: bool = False,
        overflow_wait: float = inf,
        overflow_back: float = inf,
    ) -> None:
        if len(weights) != 4 or len(table) != 9:
            raise ValueError("a plan")
        if not all(isfinite(weight) and weight >= 0 for weight in weights) or not slo > 0:
            raise ValueError("a weight")
        self.weights, self.table = tuple(weights), tuple(unit(score) for score in table)
        self.slo, self.deadline, self.ceiling, self.saturation, self.stale = slo, deadline, ceiling, saturation, stale
        self.local_first, self.overflow_wait, self.overflow_back = local_first, overflow_wait, overflow_back


class Ask:
    def __init__(self, data_class: int, prompt: float, answer: float, need: float) -> None:
        if not 0 <= data_class <= 2:
            raise ValueError("a data class")
        self.data_class = data_class
        self.prompt, self.answer, self.need = bounded(prompt, 1e12), bounded(answer, 1e12), bounded(need, 1e12)


class View:
    def __init__(self, dropped: bytes, fits: dict[int, float]) -> None:
        self.dropped, self.fits = dropped, fits
        self.count = len(fits)

    def places(self) -> list[int]:
        return list(self.fits)


class Pool:
    def __init__(self, facts: Sequence[Sequence[float]], overflowing: bool = False) -> None:
        self.facts: list[Any] = [SimpleNamespace(**dict(zip(FACTS, row, strict=True))) for row in facts]
        for fact in self.facts:
            if fact.slot < 0 or not 0 <= fact.kind < len(facts) or not 0 <= fact.tier <= 2:
                raise ValueError("a fact")
            fact.quality, fact.context = unit(fact.quality), bounded(fact.context, 1e12)
        self.count, self.kept, self.degraded, self.looked_at = len(facts), 0, 0, 0
        self.overflowing = overflowing
        self._now: dict[int, tuple[float, float, int]] = {}
        self._codes: dict[int, int] = {}
        self._scores: dict[int, tuple[float, ...]] = {}

    def narrow(self, codes: bytes, wants: int, need: float, fits: bytes) -> View:
        if len(codes) != self.count or len(fits) != self.count:
            raise ValueError("a code and a fit for each")
        found = dict(enumerate(codes))
        allowed = [place for place, code in found.items() if code == KEPT]
        roomy = any(self.facts[place].context >= need and self.facts[place].context > 0 for place in allowed)
        for place in allowed:
            found[place] = self._static(self.facts[place], wants, need, roomy)
        telling = any(found[place] == KEPT and self.facts[place].supports >= 0 for place in allowed)
        for place in allowed:
            if wants and telling and found[place] == KEPT and self.facts[place].supports < 0:
                found[place] = UNDECLARED
        left = [place for place, code in found.items() if code == KEPT]
        doubts = {place: 0.5 if wants and self.facts[place].supports < 0 else 1.0 for place in left}
        return View(bytes(found.values()), {place: fits[place] / 100.0 * doubts[place] for place in left})

    @staticmethod
    def _static(fact: Any, wants: int, need: float, roomy: bool) -> int:
        if fact.context > 0 and need > fact.context:
            return CONTEXT
        if fact.context == 0 and need > 32768 and roomy:
            return CONTEXT_UNKNOWN
        lacking = wants & ~fact.supports if fact.supports >= 0 else 0
        return LACKS + min((lacking & -lacking).bit_length() - 1, 5) if lacking else KEPT

    def gather(self, view: View, live: Any, plan: Plan, ask: Ask, now: float) -> None:
        for place in view.fits:
            slot, flags = self.facts[place].slot, 0
            if slot >= len(live.out_until):
                raise IndexError(slot)
            if live.out_until[slot] > now:
                flags |= 1
            fresh = live.sampled_at[slot] > 0 and now - live.sampled_at[slot] <= plan.stale
            if live.in_flight[slot] >= self.facts[place].connections or (
                fresh and live.kv_usage[slot] >= plan.saturation
            ):
                flags |= 2
            self._now[place] = live.predicted(slot, ask.prompt, now), bounded(live.waiting(slot, now), LONGEST), flags
        self.looked_at += view.count

    def load(self, view: View, columns: bytes) -> None:
        if len(columns) != 24 * view.count:
            raise ValueError("three columns")
        for place, (ttft, wait, flags) in zip(view.fits, struct.iter_unpack("ddd", columns), strict=True):
            self._now[place] = bounded(ttft, LONGEST), bounded(wait, LONGEST), int(bounded(flags, 7))

    def columns(self, view: View) -> bytes:
        return b"".join(struct.pack("ddd", *self._now[place]) for place in view.fits)

    def filter(self, view: View, taken: bytes) -> None:
        if len(taken) != view.count:
            raise ValueError("a byte for each")
        for place, gone in zip(view.fits, taken, strict=True):
            ttft, wait, flags = self._now[place]
            self._now[place] = ttft, wait, flags | (4 if gone else 0)

    def judge(self, view: View, plan: Plan, ask: Ask, turn: int, extra: "array[float] | None" = None) -> int:
        if extra is not None and (extra.typecode != "d" or len(extra) != view.count):
            raise ValueError("a double for each")
        prices = {place: self._price(self.facts[place], ask) for place in view.fits}
        dear = {place: self._dear(self.facts[place], prices[place], plan) for place in view.fits}
        self._codes = {place: self._hindered(place, plan) or dear[place] for place in view.fits}
        if plan.local_first:
            self._keep_local(view, plan)
        self.degraded = 0
        for code in (LATE, FULL, OUT):
            if not self._left(view):
                for place in view.fits:
                    if self._codes[place] == code and dear[place] == KEPT:
                        self._codes[place], self.degraded = KEPT, code
        left = self._left(view)
        self.kept = len(left)
        if not left:
            return -1
        added = dict(zip(view.fits, extra or [0.0] * view.count, strict=True))
        costs = self._costs({place: prices[place] for place in left})
        self._scores = {place: self._score(place, view, plan, ask, costs[place], added[place]) for place in left}
        return self._best(left, turn)

    def _left(self, view: View) -> list[int]:
        return [place for place in view.fits if self._codes[place] == KEPT]

    @staticmethod
    def _price(fact: Any, ask: Ask) -> float:
        if not fact.input >= 0:
            return -1.0
        if fact.long_from > 0 and ask.prompt > fact.long_from:
            return bounded(ask.prompt * fact.long_input + ask.answer * fact.long_output + fact.request, DEAREST)
        return bounded(ask.prompt * fact.input + ask.answer * fact.output + fact.request, DEAREST)

    @staticmethod
    def _dear(fact: Any, price: float, plan: Plan) -> int:
        if plan.ceiling < inf and price < 0 and fact.tier == 2:
            return NO_PRICE
        return CEILING if price > plan.ceiling else KEPT

    def _hindered(self, place: int, plan: Plan) -> int:
        ttft, _, flags = self._now[place]
        for bit, code in ((4, FILTERED), (1, OUT), (2, FULL)):
            if flags & bit:
                return code
        return LATE if ttft > plan.deadline else KEPT

    def _keep_local(self, view: View, plan: Plan) -> None:
        limit = plan.overflow_back if self.overflowing else plan.overflow_wait
        left = self._left(view)
        local = [place for place in left if self.facts[place].tier < 2]
        cloud = [place for place in left if self.facts[place].tier == 2]
        calm = any(self._now[place][1] <= limit for place in local)
        self.overflowing = not calm and (bool(cloud) or self.overflowing)
        if calm or cloud:
            for place in local:
                self._codes[place] = WAITS if self._now[place][1] > limit else KEPT
        if calm:
            for place in cloud:
                self._codes[place] = NOT_NEEDED

    def _costs(self, prices: dict[int, float]) -> dict[int, float]:
        said = {place: 0.0 if price < 0 and self.facts[place].tier < 2 else price for place, price in prices.items()}
        dearest = max([*said.values(), 0.0])
        known = {place: price if price >= 0 else dearest or 1.0 for place, price in said.items()}
        cheapest = min(known.values())
        if cheapest > 0:
            return {place: cheapest / price for place, price in known.items()}
        least = min([price for price in known.values() if price > 0] or [DEAREST])
        return {place: least / (price + least) for place, price in known.items()}

    def _score(self, place: int, view: View, plan: Plan, ask: Ask, cost: float, added: float) -> tuple[float, ...]:
        fact = self.facts[place]
        room = 1.0
        if fact.context > 0 and ask.need > 0.75 * fact.context:
            room = max(0.5, 1 - 0.5 * (ask.need / fact.context - 0.75) / 0.25)
        safety = plan.table[3 * ask.data_class + fact.tier]
        capability = fact.quality * view.fits[place] * room
        latency = 1 / (1 + self._now[place][0] / plan.slo)
        scores = safety, capability, latency, cost
        total = sum(weight * score for weight, score in zip(plan.weights, scores, strict=True))
        return (*scores, total + (added if isfinite(added) else 0.0))

    def _best(self, left: list[int], turn: int) -> int:
        bests: dict[int, float] = {}
        for place in left:
            kind = self.facts[place].kind
            bests[kind] = max(bests.get(kind, -inf), self._scores[place][4])
        best = max(bests.values())
        equals = [kind for kind, total in bests.items() if total >= best - EQUAL]
        return equals[turn % len(equals)]

    def slots(self, view: View, kind: int) -> list[int]:
        return [self.facts[place].slot for place in self._left(view) if self.facts[place].kind == kind]

    def codes(self, view: View) -> bytes:
        return bytes(self._codes.get(place, code) if code == KEPT else code for place, code in enumerate(view.dropped))

    def scores(self, view: View) -> list[tuple[float, ...]]:
        return [(place, *self._scores[place]) for place in self._left(view)]
