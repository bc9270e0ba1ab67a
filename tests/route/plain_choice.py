"""The five steps and the score once more, written from the issue's text and docs/explanation/choosing.md alone.

Slow and plain on purpose: sets, lists and nothing that the kernel has. Tests compare the two.
"""

from typing import Any

import msgspec

SAFETY = {
    "P0": {"L1": 1.0, "L0": 0.8},
    "P1": {"L0": 1.0, "L1": 1.0, "L2": 0.3},
    "P2": {"L0": 1.0, "L1": 1.0, "L2": 0.6},
}
WEIGHTS = (0.40, 0.25, 0.20, 0.15)


class Place(msgspec.Struct):
    """An endpoint. price: of this request, None: nobody says. context, supports: None: nobody says."""

    tier: str
    quality: float = 0.5
    ttft: float = 0.5
    price: float | None = 1.0
    context: int | None = None
    supports: frozenset[str] | None = None
    languages: frozenset[str] | None = None
    out: bool = False
    full: bool = False


class Need(msgspec.Struct):
    """A request. tokens: of prompt and answer; wants: capabilities."""

    data_class: str = "P2"
    masked: bool = False
    tokens: int = 100
    wants: frozenset[str] = frozenset()
    language: str | None = None


def best(need: Need, places: list[Place], slo: float, deadline: float, ceiling: float) -> dict[int, float]:
    """The total of each place that may be chosen, by its number; empty where nobody may serve."""
    ids: Any = [i for i, p in enumerate(places) if p.tier != "L2" or may_leave(need)]
    roomy = any((places[i].context or 0) >= need.tokens for i in ids)
    ids = [i for i in ids if holds(places[i], need, roomy)]
    if need.wants:
        telling = [i for i in ids if places[i].supports is not None and need.wants <= places[i].supports]
        ids = telling or [i for i in ids if places[i].supports is None]
    paid = [i for i in ids if affordable(places[i], ceiling)]
    good = [i for i in paid if not (places[i].out or places[i].full or places[i].ttft > deadline)]
    good = good or [i for i in paid if not (places[i].out or places[i].full)]  # degrade: rather late than never
    good = good or [i for i in paid if not places[i].out] or paid
    money = costs([places[i] for i in good])
    return {i: total(places[i], need, slo, cost) for i, cost in zip(good, money, strict=True)}


def may_leave(need: Need) -> bool:
    return need.data_class == "P2" or (need.data_class == "P1" and need.masked)


def holds(place: Place, need: Need, roomy: bool) -> bool:
    if place.context is None:
        return need.tokens <= 32_768 or not roomy
    return need.tokens <= place.context


def affordable(place: Place, ceiling: float) -> bool:
    if ceiling == float("inf"):
        return True
    return (0.0 if place.tier != "L2" else float("inf")) <= ceiling if place.price is None else place.price <= ceiling


def costs(left: list[Place]) -> list[float]:
    known = [p.price for p in left if p.price is not None] + [0.0 for p in left if p.price is None and p.tier != "L2"]
    dearest = max(known, default=0.0)
    prices = [p.price if p.price is not None else 0.0 if p.tier != "L2" else dearest or 1.0 for p in left]
    if min(prices, default=1.0) > 0:
        return [min(prices) / price for price in prices]
    cheapest = min((price for price in prices if price > 0), default=1.0)
    return [cheapest / (price + cheapest) for price in prices]


def total(place: Place, need: Need, slo: float, cost: float) -> float:
    fit = 0.5 if need.wants and place.supports is None else 1.0
    if place.context is not None and need.tokens > 0.75 * place.context:
        fit *= 1 - 0.5 * (need.tokens / place.context - 0.75) / 0.25
    if need.language and place.languages is not None and need.language not in place.languages:
        fit *= 0.5
    scores = SAFETY[need.data_class][place.tier], place.quality * fit, 1 / (1 + place.ttft / slo), cost
    return sum(w * s for w, s in zip(WEIGHTS, scores, strict=True))
