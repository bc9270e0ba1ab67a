"""The arithmetic of the race: ratios to the anchor of the same round, their median and spread, goals missed. Pure."""

from collections.abc import Sequence
from statistics import median

import msgspec

from bench.e2e.units import Goal


class Measurement(msgspec.Struct, frozen=True):
    """One contestant measured once in one unit. `void` says why its figures do not count."""

    name: str
    unit: str
    figures: dict[str, float]
    void: str | None = None


Rounds = Sequence[Sequence[Measurement]]


class Ratio(msgspec.Struct, frozen=True):
    """Of one contestant to an anchor, over all rounds; `cpu_us` is the median of its own microseconds.

    `tokens_per_core` is what one core relays in a second, where a unit is a chunk of one token.
    """

    name: str
    unit: str
    anchor: str
    cpu_us: float
    median: float
    lowest: float
    highest: float
    rounds: int
    rss_mb: float
    tokens_per_core: float


def summarise(rounds: Rounds, anchors: dict[str, str]) -> list[Ratio]:
    """One row per contestant and unit, cheapest first; rounds without its or the anchor's figure are left out."""
    pairs = dict.fromkeys((m.unit, m.name) for measured in rounds for m in measured)
    rows = [compare(rounds, unit, name, anchors[unit]) for unit, name in pairs]
    order = list(anchors)
    return sorted((row for row in rows if row), key=lambda row: (order.index(row.unit), row.median))


def compare(rounds: Rounds, unit: str, name: str, anchor: str) -> Ratio | None:
    """`name` against `anchor`, round by round; None when they never met. A void measurement counts for nothing."""
    met = [
        (found[name], found[anchor])
        for found in (_counted(part, unit) for part in rounds)
        if {name, anchor} <= set(found)
    ]
    if not met:
        return None
    ratios = [own["cpu_us"] / other["cpu_us"] for own, other in met]
    cpu_us = median(own["cpu_us"] for own, _ in met)
    return Ratio(
        name=name,
        unit=unit,
        anchor=anchor,
        cpu_us=cpu_us,
        median=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        rounds=len(met),
        rss_mb=median(own["rss_mb"] for own, _ in met),
        tokens_per_core=1e6 / cpu_us if "chunk" in unit else 0.0,
    )


def _counted(measured: Sequence[Measurement], unit: str) -> dict[str, dict[str, float]]:
    return {m.name: m.figures for m in measured if m.unit == unit and m.figures and m.void is None}


class Verdict(msgspec.Struct, frozen=True):
    """A goal and the median that was reached; None when its contestants did not meet."""

    goal: Goal
    reached: float | None

    @property
    def text(self) -> str:
        """`met`, `missed` or `not measured`."""
        if self.reached is None:
            return "not measured"
        return "missed" if self.reached > self.goal.limit else "met"


def judge_goals(rounds: Rounds, goals: Sequence[Goal]) -> list[Verdict]:
    """Every goal in turn."""
    found = [(goal, compare(rounds, goal.unit, goal.name, goal.anchor)) for goal in goals]
    return [Verdict(goal, ratio.median if ratio else None) for goal, ratio in found]


def missed_goals(rounds: Rounds, goals: Sequence[Goal]) -> list[str]:
    """Goals whose median is over the limit, in words. A goal whose contestants did not meet is neither."""
    missed = [verdict for verdict in judge_goals(rounds, goals) if verdict.text == "missed"]
    return [
        f"{one.goal.unit}, {one.goal.name}: {one.reached:.2f} times {one.goal.anchor}, at most {one.goal.limit}"
        for one in missed
    ]
