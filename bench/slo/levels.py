"""One level of load: direct, through haproxy and through a door of Fastpath, and what the last two add.

Owns the rule for what is void. Does not start anything (`house`).
"""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from bench.slo.client import Answered, Distribution

Kind = Literal["request", "stream"]
DIRECT_P99_MS = 0.3
"""A direct p99 over this: the machine is too noisy (or the load's own CPU too full) to see what a proxy adds."""
TRIES = 5
GOAL = {"p50": 0.2, "p99": 0.5}
"""Added milliseconds of a request on the native door, at half of its peak, at most."""
GOAL_SHARE = 0.5


class Added(msgspec.Struct, frozen=True):
    """Milliseconds on top of the direct ones: difference of the same percentile of two distributions."""

    p50: float
    p99: float
    p999: float


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """`added` is by proxy and then by what: latency of a request; first_event and gap of a stream."""

    door: str
    kind: Kind
    pace: str
    share: float
    rate: float
    tries: int
    void: str | None
    answered: dict[str, Answered]
    added: dict[str, dict[str, Added]]


def measure_level(
    door: str, kind: Kind, pace: str, share: float, rate: float, ask: Callable[[str], Answered], tries: int = TRIES
) -> Level:
    """`ask` loads "direct", "haproxy" or the door. A void direct run is tried again; the last one is kept as void."""
    for number in range(1, tries + 1):
        direct = ask("direct")
        void = judge(kind, direct)
        if void is None or number == tries:
            break
    answered = {"direct": direct, "haproxy": ask("haproxy"), door: ask(door)}
    lost = [f"{name}: {problem}" for name, found in answered.items() if (problem := losses(found))]
    return Level(
        door=door,
        kind=kind,
        pace=pace,
        share=share,
        rate=rate,
        tries=number,
        void="; ".join([*([void] if void else []), *lost]) or None,
        answered=answered,
        added={name: compare(kind, found, direct) for name, found in answered.items() if name != "direct"},
    )


def judge(kind: Kind, direct: Answered) -> str | None:
    """Why nothing can be said beside this direct run."""
    found = direct.first_event if kind == "stream" else direct.latency
    if found.count == 0:
        return "nothing came back directly"
    return f"the direct p99 is {found.p99:.2f} ms, over {DIRECT_P99_MS}" if found.p99 > DIRECT_P99_MS else None


def losses(answered: Answered) -> str:
    """Requests that were not answered as they should be."""
    counts = {"refused": answered.refused, "broken": answered.broken, "unfinished": answered.unfinished}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def compare(kind: Kind, found: Answered, direct: Answered) -> dict[str, Added]:
    """What is added to each distribution that matters."""
    names = ("first_event", "gap") if kind == "stream" else ("latency",)
    return {name: subtract(getattr(found, name), getattr(direct, name)) for name in names}


def subtract(found: Distribution, direct: Distribution) -> Added:
    return Added(found.p50 - direct.p50, found.p99 - direct.p99, found.p999 - direct.p999)


def missed_goals(levels: Sequence[Level]) -> list[str]:
    """Goals missed where the run counts; p99.9 is reported and never a goal."""
    return [
        f"{level.pace}: {percentile} of {getattr(level.added[level.door]['latency'], percentile):.3f} ms, under {limit}"
        for level in levels
        for percentile, limit in GOAL.items()
        if is_gated(level) and getattr(level.added[level.door]["latency"], percentile) >= limit
    ]


def is_gated(level: Level) -> bool:
    return (level.door, level.kind, level.share, level.void) == ("native", "request", GOAL_SHARE, None)
