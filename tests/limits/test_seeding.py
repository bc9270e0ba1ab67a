"""A new arena beside a ledger: hard budgets stay closed until what was spent is known, and then it counts."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from _native.arena import Arena
from fastpath.account.payer import payer_of
from fastpath.liaison import Asked, Declined, Question, SpentAsked, SpentTold, Told
from fastpath.limits.admission import Rejection
from fastpath.limits.book import resolved_keys
from fastpath.limits.desk import Desk
from fastpath.limits.seeding import SEEDED, close, finish, gaps_of, open_unseeded, seal_of
from fastpath.process.liaison import NoAnswer
from fastpath.process.seeder import Seeder
from fastpath.settings import Settings
from fastpath.settings.file import load
from scheduler.clock import ManualClock
from tests.limits.conftest import MODELS, Gate, hash_of

BUDGETS = f"""
tenants:
  - name: acme
    currency: EUR
    time_zone: Europe/Berlin
    budgets: [{{name: whole, amount: 10, period: month}}]
    teams: [{{name: search, budgets: [{{name: week, tokens: 1000, period: rolling, days: 3}}]}}]
    users: [{{name: ann, team: search}}]
  - name: idle
    budgets: [{{amount: 1, period: day}}]
keys:
  - {{name: k, hash: "{hash_of(1)}", tenant: acme, user: ann}}
  - {{name: own, hash: "{hash_of(2)}", budgets: [{{tokens: 50, period: day, hard: false}}]}}
"""


def settings() -> Settings:
    return load(BUDGETS + MODELS, {})


def at(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]  # year, month, day, hour


def test_every_owner_of_a_budget_is_asked_about_by_the_names_of_the_ledger(clock: ManualClock) -> None:
    questions = {gap.question for gap in gaps_of(settings(), clock.now())}  # 2026-09-21 14:13 UTC
    midnight = at(2026, 9, 20, 22)
    assert questions == {
        Question("acme", "tenant", "", "money", "EUR", at(2026, 8, 31, 22), at(2026, 9, 30, 22)),
        *(
            Question(
                "acme", "team", "search", "tokens", "EUR", midnight - 86_400 * back, midnight + 86_400 * (1 - back)
            )
            for back in range(3)
        ),
        Question("idle", "tenant", "", "money", "USD", at(2026, 9, 21), at(2026, 9, 22)),
        Question("", "key", "own", "tokens", "USD", at(2026, 9, 21), at(2026, 9, 22)),
    }


def test_a_bill_goes_to_the_team_that_limits_go_to() -> None:
    key = next(key for key in resolved_keys(settings()) if key.name == "k")
    assert payer_of(key).team == "search"


def test_a_day_that_is_short_or_long_is_asked_for_whole() -> None:
    zone = BUDGETS.replace("period: rolling, days: 3", "period: rolling, days: 2")
    found = {gap.question for gap in gaps_of(load(zone + MODELS, {}), at(2026, 10, 25, 12))}  # 25 hours
    days = sorted((one.start, one.end) for one in found if one.name == "search")
    assert days == [(at(2026, 10, 23, 22), at(2026, 10, 24, 22)), (at(2026, 10, 24, 22), at(2026, 10, 25, 23))]


class Ledger:
    """Answers with what is spent by owner's name; None: it cannot be read."""

    def __init__(self, spent: dict[str, int] | None) -> None:
        self.spent = spent
        self.asked = 0

    async def ask(self, question: Asked, within: float) -> Told:
        assert isinstance(question, SpentAsked)
        self.asked += 1
        if self.spent is None:
            return Declined("usage from before is still being settled")
        return SpentTold(tuple(self.spent.get(one.name or one.tenant, 0) for one in question.questions))


async def test_what_was_spent_before_counts_and_closed_budgets_open(
    arena: Arena, clock: ManualClock, gate: Callable[..., Gate]
) -> None:
    wanted = settings()
    assert close(arena)
    desk = Desk.open(wanted, arena, lambda crossing: None)
    assert desk is not None
    assert desk.unseeded
    assert desk.standing("k", "llama").capped
    assert not desk.standing("own", "llama").capped  # a soft budget waits for nothing
    ledger, said = Ledger(None), list[str]()
    seeding = asyncio.create_task(Seeder(arena, ledger, clock, said.append).run(lambda: wanted))
    while not ledger.asked:
        await asyncio.sleep(0)
    assert desk.unseeded
    ledger.spent = {"acme": 9_999_999_990, "search": 300}
    await seeding
    assert not desk.unseeded
    assert seal_of(arena).value == SEEDED
    seen = gate(BUDGETS)
    assert isinstance(seen.ask("k", money=11), Rejection)
    assert isinstance(seen.ask("k", input=101), Rejection)  # 3 days of 300 each
    seen.take("k", input=100, money=10)
    assert not close(arena), "the next supervisor of this arena has nothing to ask"


async def test_what_the_arena_knows_better_stays(arena: Arena, clock: ManualClock, gate: Callable[..., Gate]) -> None:
    seen = gate(BUDGETS)
    seen.spend(9_000_000_000)
    await Seeder(arena, Ledger({"acme": 5}), clock, print).run(settings)
    assert isinstance(seen.ask("k", money=1_000_000_001), Rejection)
    seen.take("k", money=1_000_000_000)


async def test_a_ledger_that_never_answers_is_said_once(arena: Arena, clock: ManualClock) -> None:
    class Silent(Ledger):
        async def ask(self, question: Asked, within: float) -> Told:
            self.asked += 1
            clock.advance(3.0)
            raise NoAnswer("no answer within 10 s")

    said: list[str] = []
    ledger = Silent(None)
    seeder = Seeder(arena, ledger, clock, said.append)
    close(arena)
    running = asyncio.create_task(seeder.run(settings))
    while ledger.asked < 4:
        await asyncio.sleep(0.01)
    running.cancel()
    assert said == ["hard budgets are closed until the ledger says what was spent: no answer within 10 s"]
    assert seeder.problem == said[0]


def test_without_a_ledger_nobody_waits(arena: Arena) -> None:
    desk = Desk.open(settings(), arena, lambda crossing: None)
    assert desk is not None
    assert not desk.unseeded
    close(arena)
    open_unseeded(arena)
    desk = Desk.open(settings(), arena, lambda crossing: None)
    assert desk is not None
    assert not desk.unseeded
    finish(arena)
    open_unseeded(arena)
    assert seal_of(arena).value == SEEDED


@pytest.mark.parametrize("month", [1, 6, 12])
def test_periods_begin_at_quarters_of_an_hour(month: int) -> None:
    for zone in ("Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"):
        asked = gaps_of(load(BUDGETS.replace("Europe/Berlin", zone) + MODELS, {}), at(2026, month, 15, 12))
        assert all(gap.question.start % 900 == 0 == gap.question.end % 900 for gap in asked)
