"""What was written down of a choice, and the choice told from it: the same decision, made again.

A decision is a function of what it looked at, so that is all that is kept while a request runs: references, and three
numbers for each endpoint that was in question. `choices` tells them; `inputs` makes one self-contained, for a record
that outlives settings; `replay` decides by that. Pure but for the pool's room to decide in. One loop.
"""

from array import array
from typing import TYPE_CHECKING, Any

import msgspec

from _native.score import Ask, Pool, View
from scheduler.choice import Choice
from scheduler.steps import tell
from scheduler.strategies import Strategy

if TYPE_CHECKING:
    from fastpath.record import DecisionRecord
    from fastpath.route.groups import Lineup, Shortlist

#: Hundredths of fit that are left to an endpoint of which nobody says whether it can.
_UNSAID = 50


class Trace:
    """One decision, as it was made. chosen: place of the endpoint that was picked, -1: nobody."""

    __slots__ = ("ask", "chosen", "columns", "extra", "lineup", "overflowing", "shortlist", "strategy", "turn", "wants")

    def __init__(
        self, lineup: "Lineup", shortlist: "Shortlist", strategy: Strategy, ask: Ask, wants: int, columns: bytes
    ) -> None:
        self.lineup = lineup
        self.shortlist = shortlist
        self.strategy = strategy
        self.ask = ask
        self.wants = wants
        self.columns = columns
        self.turn = shortlist.turn
        self.overflowing = lineup.pool.overflowing
        self.extra: array[float] | None = None
        self.chosen = -1


class Inputs(msgspec.Struct, frozen=True, array_like=True):
    """All that a decision looked at, with names for the endpoints. facts: rows of `_native.score.Pool`; dropped: a code
    for each of them from the steps that never change; fits: hundredths; columns: what was gathered of those left."""

    model: str
    names: tuple[str, ...]
    facts: tuple[tuple[float, ...], ...]
    dropped: bytes
    fits: bytes
    strategy: Strategy
    ask: tuple[int, float, float, float]
    columns: bytes
    turn: int
    overflowing: bool
    extra: tuple[float, ...] | None
    chosen: int


def choices(record: "DecisionRecord") -> tuple[Choice, ...]:
    """Every choice of a request that was made between kinds, or dropped somebody; the oldest first."""
    return tuple([replay(inputs(trace)) for trace in record.choices or ()])


def inputs(trace: Trace) -> Inputs:
    """What can be kept of a trace."""
    lineup, ask, shortlist = trace.lineup, trace.ask, trace.shortlist
    rows = [tuple(map(float, (*fact, *price))) for fact, price in zip(lineup.facts, lineup.prices, strict=True)]
    return Inputs(
        lineup.model.name,
        lineup.names,
        tuple(rows),
        shortlist.view.dropped,
        bytes([_fit(fit, fact, trace.wants) for fit, fact in zip(shortlist.fits, lineup.facts, strict=True)]),
        trace.strategy,
        (ask.data_class, ask.prompt, ask.answer, ask.need),
        trace.columns,
        trace.turn,
        trace.overflowing,
        None if trace.extra is None else tuple(trace.extra),
        trace.chosen,
    )


def replay(kept: Inputs) -> Choice:
    """The choice again. The picker's part of it, which replica of the kind, is as it was written down, if that is one
    of those that the score leaves; else nobody's."""
    pool = Pool([_row(row) for row in kept.facts], kept.overflowing)
    view: View = pool.narrow(kept.dropped, 0, 0.0, kept.fits)
    ask, plan = Ask(*kept.ask), kept.strategy.plan()
    pool.load(view, kept.columns)
    extra = None if kept.extra is None else array("d", kept.extra)
    kind = pool.judge(view, plan, ask, kept.turn, extra)
    left = pool.slots(view, kind) if kind >= 0 else []
    chosen = kept.chosen if kept.chosen >= 0 and kept.facts[kept.chosen][0] in left else -1
    tiers = [int(row[2]) for row in kept.facts]
    return tell(kept.model, kept.strategy.name, kept.names, tiers, chosen, pool, view)


def _row(row: tuple[float, ...]) -> tuple[Any, ...]:
    """Its first four are whole numbers."""
    return *map(int, row[:4]), *row[4:]


def _fit(fit: int, fact: tuple[float, ...], wants: int) -> int:
    return fit * _UNSAID // 100 if wants and fact[3] < 0 else fit
