"""The five steps in words: what each code of `_native.score` means, and a choice told as a `Choice`.

Owns the words, which are part of the record of a decision and do not change. Does not own the steps (`_native.score`).
Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from _native import score
from scheduler.choice import Choice, Dropped, Scored, Step

#: Capabilities in the order of their bits.
CAPABILITIES: Final = ("tools", "vision", "audio", "json_object", "json_schema", "reasoning")
TIERS: Final = ("L0", "L1", "L2")
TOOLS, VISION, AUDIO, JSON_OBJECT, JSON_SCHEMA, REASONING = (1 << bit for bit in range(len(CAPABILITIES)))

REASONS: Final[Mapping[int, tuple[Step, str]]] = {
    score.TIER: (Step.SAFETY, "tier"),
    score.REGION: (Step.SAFETY, "region"),
    score.PINNED: (Step.SAFETY, "not_pinned"),
    score.PATH: (Step.CAPABILITY, "path"),
    score.CONTEXT: (Step.CAPABILITY, "context"),
    score.CONTEXT_UNKNOWN: (Step.CAPABILITY, "context_undeclared"),
    **{score.LACKS + bit: (Step.CAPABILITY, f"lacks_{name}") for bit, name in enumerate(CAPABILITIES)},
    score.UNDECLARED: (Step.CAPABILITY, "undeclared"),
    score.FILTERED: (Step.CAPABILITY, "filter"),
    score.TRIED: (Step.PERFORMANCE, "failed_before"),
    score.OUT: (Step.PERFORMANCE, "out"),
    score.FULL: (Step.PERFORMANCE, "saturated"),
    score.LATE: (Step.PERFORMANCE, "late"),
    score.WAITS: (Step.PERFORMANCE, "local_waits"),
    score.CEILING: (Step.COST, "over_ceiling"),
    score.NO_PRICE: (Step.COST, "no_price"),
    score.NOT_NEEDED: (Step.COST, "local_has_room"),
    score.SPARE: (Step.COST, "spare"),
}
#: What a choice says that had to forgive somebody.
FORGIVEN: Final[Mapping[int, str]] = {score.LATE: "late", score.FULL: "saturated", score.OUT: "panic"}
_OVERFLOW: Final = frozenset({score.TRIED, score.OUT, score.FULL, score.LATE, score.WAITS})


def names_of(wants: int) -> list[str]:
    """Capabilities by name, of their bits."""
    return [name for bit, name in enumerate(CAPABILITIES) if wants >> bit & 1]


def tell(
    model: str, strategy: str, names: Sequence[str], tiers: Sequence[int], chosen: int, found: Any, view: Any
) -> Choice:
    """A judgement of a pool as a Choice. names, tiers: of its endpoints; chosen: place of the one that was picked, -1:
    nobody; found: the pool, fresh from `judge`."""
    codes: bytes = found.codes(view)
    dropped = tuple([Dropped(names[place], *REASONS[code]) for place, code in enumerate(codes) if code])
    scored: list[tuple[int, float, float, float, float, float]] = found.scores(view) if chosen >= 0 else []
    return Choice(
        model,
        names[chosen] if chosen >= 0 else None,
        reason_of(codes, tiers, chosen, found.degraded, len(scored)),
        strategy,
        dropped,
        tuple([Scored(names[one[0]], *one[1:]) for one in scored]) if len(scored) > 1 else (),
    )


def reason_of(codes: bytes, tiers: Sequence[int], chosen: int, forgiven: int, left: int) -> str:
    """What decided, in a word. An overflow: the cloud was chosen, and somebody at home could not at the time."""
    if chosen < 0:
        return "nobody"
    if forgiven:
        return FORGIVEN[forgiven]
    if tiers[chosen] == TIERS.index("L2") and any(
        code in _OVERFLOW and tiers[place] < tiers[chosen] for place, code in enumerate(codes)
    ):
        return "overflow"
    return "only" if left == 1 else "score"
