"""What a unit may cost beside its anchor, and when a measurement of that says anything. Pure.

A machine's noise must fail nobody: a try is void when the anchor's own figures wander, when the hypervisor took time
away, or when a measurement was spoilt. Only two clean tries over the limit fail, or three that Fastpath alone spoilt.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from bench.e2e.ratios import Measurement, Ratio, compare
from bench.e2e.units import NATIVE

FILE = Path(__file__).with_suffix(".json")
HEADROOM = 1.25
TRIES = 3
WANDER = 0.40
"""Of the anchor's figures in one try, highest over lowest less one, at most."""
STEAL = 0.02
"""Of all CPU time, taken away by the hypervisor during a try, at most."""
Verdict = Literal["held", "over", "void", "undecided"]


class Limit(msgspec.Struct, frozen=True):
    """One unit's in limits.json. `goal` is the issue's, `reached` the figure that the limit was made from, and
    `comment` names the run that it came from."""

    anchor: str
    goal: float
    reached: float
    limit: float
    comment: str


class Try(msgspec.Struct, frozen=True):
    """Some pairs measured. `void` says why they say nothing; `ours`: Fastpath alone could not be measured."""

    ratio: Ratio | None
    void: str | None = None
    ours: bool = False


def make_limit(anchor: str, goal: float, reached: float, comment: str) -> Limit:
    """The figure reached and a quarter; never above the goal once that is reached."""
    limit = reached * HEADROOM
    return Limit(anchor, goal, reached, round(min(limit, goal) if reached <= goal else limit, 3), comment)


def judge_try(rounds: Sequence[Sequence[Measurement]], unit: str, anchor: str, steal: float) -> Try:
    """What some rounds say of Fastpath's native door. steal: share of all CPU time that was taken away."""
    ratio = compare(rounds, unit, NATIVE, anchor)
    spoilt = [m for measured in rounds for m in measured if m.void]
    anchors = [m.figures["cpu_us"] for measured in rounds for m in measured if m.name == anchor and not m.void]
    if spoilt or ratio is None:
        why = "; ".join(f"{m.name}: {m.void}" for m in spoilt)
        return Try(ratio, why or "nothing was measured", all(m.name == NATIVE for m in spoilt) and bool(spoilt))
    if (wander := max(anchors) / min(anchors) - 1) > WANDER:
        return Try(ratio, f"{anchor}'s own figures are {wander:.0%} apart, at most {WANDER:.0%}")
    if steal > STEAL:
        return Try(ratio, f"{steal:.1%} of the CPU time was taken away, at most {STEAL:.0%}")
    return Try(ratio)


def conclude(tries: Sequence[Try], limit: float) -> Verdict:
    """Of all tries so far. One clean try within the limit holds, two over it do not."""
    clean = [found.ratio.median for found in tries if found.void is None and found.ratio is not None]
    if any(median <= limit for median in clean):
        return "held"
    if len(clean) >= 2 or (len(tries) == TRIES and all(found.ours for found in tries)):
        return "over"
    return "void" if len(tries) == TRIES else "undecided"
