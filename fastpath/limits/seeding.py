"""What a ledger remembers of budgets and a new arena does not: which budgets to ask for, and who waits meanwhile.

After a reboot the arena is gone. Where a control plane keeps a ledger, budgets that can refuse somebody are closed
until what their period has spent was read from it; all else is served. Owns the word in the arena that says so, the
periods and the seeding itself. Does not own the asking (`process.seeder`). The supervisor uses it; workers look.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from _native.arena import Arena, Word, digest
from fastpath.liaison import Question
from fastpath.limits.book import members_of
from fastpath.limits.calendar import Span
from fastpath.limits.plan import Fund, fund_of, purse_of
from fastpath.settings import Settings

UNTOUCHED: Final = 0  # nobody has a ledger to ask
CLOSED: Final = 1
SEEDED: Final = 2
_DAY: Final = 86_400.0
_QUARTER: Final = 900.0


class Gap(msgspec.Struct, frozen=True):
    """One period of one budget, and the question that fills it."""

    fund: Fund
    period: int
    question: Question


def seal_of(arena: Arena) -> Word:
    """The word that says whether budgets wait for a ledger: UNTOUCHED, CLOSED or SEEDED."""
    return arena.word(digest("budgets", "seeded"))


def close(arena: Arena) -> bool:
    """Before workers start beside a ledger: closes what is to be seeded. False: this arena has been seeded already."""
    seal = seal_of(arena)
    if seal.value == SEEDED:
        return False
    seal.set(CLOSED)
    return True


def open_unseeded(arena: Arena) -> None:
    """Before workers start without a ledger: nothing is waited for."""
    seal = seal_of(arena)
    if seal.value == CLOSED:
        seal.set(UNTOUCHED)


def gaps_of(settings: Settings, wall: float) -> list[Gap]:
    """Every budget's periods that are not over. wall: Unix seconds."""
    funds = {}
    for member in members_of(settings):
        for budget in member.budgets:
            fund = fund_of(member.owner, budget)
            funds[fund.owner.scope, fund.owner.words, fund.name, fund.kind, fund.days] = fund
    return [gap for fund in funds.values() for gap in _gaps(fund, wall)]


def fill(arena: Arena, gaps: Iterable[Gap], amounts: Iterable[int]) -> None:
    """Sees to it that at least so much counts as spent."""
    for gap, amount in zip(gaps, amounts, strict=True):
        purse_of(arena, gap.fund).seed(gap.period, max(0, amount))


def finish(arena: Arena) -> None:
    """All of them are filled: nobody waits any more."""
    seal_of(arena).set(SEEDED)


def _gaps(fund: Fund, wall: float) -> Iterator[Gap]:
    for span in _spans(fund, wall):
        yield Gap(fund, span.number, _question(fund, span))


def _spans(fund: Fund, wall: float) -> Iterator[Span]:
    """A calendar budget's one period; each day of a rolling one, the last first."""
    span = fund.calendar.at(wall)
    yield span
    for _ in range(1, fund.days):
        span = fund.calendar.at(span.since - _DAY / 2)
        yield span


def _question(fund: Fund, span: Span) -> Question:
    owner = fund.owner
    tenant, name = owner.account
    level = "tenant" if owner.scope == "model" else owner.scope  # no model has a budget
    # Every zone's midnight is at a quarter of an hour, of which the ledger keeps sums; before 1900 they were not.
    start, end = (moment - moment % _QUARTER for moment in (span.since, span.until))
    return Question(tenant, level, name, fund.kind, owner.currency, start, end)
