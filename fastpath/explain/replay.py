"""Replaying a decision: the choice that its record's own inputs lead to, beside the one that was made.

Owns the rule that turns a trace into an endpoint. The last choice by score is made again from all that it looked at
(`fastpath.route.trace`), those before it from the totals that were stored; one that only one endpoint was left for,
from that. A picker among equal replicas decides by live counters that no record
holds: that it took one of those that were left is all that can be checked. Pure.
"""

import msgspec

from fastpath.explain.decision import Decision
from fastpath.route.trace import Inputs
from fastpath.route.trace import replay as route_again
from scheduler.choice import Choice


class Replayed(msgspec.Struct, frozen=True):
    """One choice again. endpoint: what the inputs lead to. decided: False where they leave it open."""

    recorded: str | None
    endpoint: str | None
    decided: bool

    @property
    def same(self) -> bool:
        """Whether the inputs lead to what was recorded, or at least leave it open."""
        return self.endpoint == self.recorded


def replay(decision: Decision) -> tuple[Replayed, ...]:
    """Every choice of a decision again."""
    found = [_again(choice) for choice in decision.choices]
    if decision.evidence and found:
        choice = route_again(msgspec.msgpack.decode(decision.evidence, type=Inputs))
        found[-1] = Replayed(decision.choices[-1].endpoint, choice.endpoint, True)
    return tuple(found)


def _again(choice: Choice) -> Replayed:
    gone = {each.endpoint for each in choice.dropped}
    left = [each for each in choice.scored if each.endpoint not in gone]
    if choice.reason == "score" and left:
        best = max(left, key=lambda each: each.total)
        return Replayed(choice.endpoint, best.endpoint, True)
    if choice.reason == "nobody":
        return Replayed(choice.endpoint, None, True)
    if choice.endpoint in gone:
        return Replayed(choice.endpoint, None, True)
    return Replayed(choice.endpoint, choice.endpoint, choice.reason == "only")
