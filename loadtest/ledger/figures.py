"""What a run is told in: counts, sums of money and how far the books were from the statement. Pure.

Owns the shape and its arithmetic. Does not judge.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from loadtest.ledger.order import Order
from loadtest.ledger.run import Outcome


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Money in nano-units."""

    order: Order
    seconds: float
    kills: int
    callers: dict[str, int]
    """How requests ended for those who sent them."""
    statuses: dict[str, int]
    booked: dict[str, int]
    """How requests ended in the books."""
    attempts: int
    """That a provider was asked for."""
    charged: int
    stated: int
    booked_before: int
    """What the books said of the attempts in the statement before they were compared with it."""
    differences: dict[str, int]
    """By verdict: lines that differed."""
    violations: dict[str, int]


def figures_of(order: Order, outcome: Outcome) -> Figures:
    """Of a run."""
    books = outcome.accounts
    first = [one for one in books.differences if not one.again]
    stated = sum(line.amount for line in books.stated)
    return Figures(
        order=order,
        seconds=round(outcome.seconds, 1),
        kills=len(outcome.killed),
        callers=_counts(line.outcome for line in outcome.clients),
        statuses=_counts(str(line.status or "none") for line in outcome.clients),
        booked=_counts(one.outcome for one in books.requests),
        attempts=len(books.stated),
        charged=sum(sum(one.charges.values()) for one in books.requests),
        stated=stated,
        booked_before=stated - sum(one.stated - one.booked for one in first),
        differences=_counts(one.verdict for one in first),
        violations=_counts(name for name, _ in outcome.violations),
    )


def _counts(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def render(figures: Figures) -> str:
    """Lines for people."""
    rows = (
        ("store", figures.order.store),
        ("requests", f"{sum(figures.callers.values())} in {figures.seconds:g} s, {figures.kills} workers killed"),
        ("for their callers", _list(figures.callers)),
        ("by status", _list(figures.statuses)),
        ("in the books", _list(figures.booked)),
        ("attempts at providers", str(figures.attempts)),
        ("charged", f"{figures.charged} nano-units"),
        ("stated by providers", f"{figures.stated} nano-units, of which the books knew {figures.booked_before}"),
        ("lines that differed", _list(figures.differences)),
    )
    return "\n".join(f"{name:22} {text}" for name, text in rows)


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
