"""Budgets in a tenant's calendar: periods, thresholds, what runs out when."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fastpath.limits.admission import Rejection, Ticket, admit
from fastpath.limits.calendar import Calendar
from fastpath.limits.plan import NANO, purse_of
from fastpath.limits.thresholds import degraded_model
from fastpath.settings.tenancy import Period


def text(budget: str, zone: str = "UTC") -> str:
    return f"""
    tenants: [{{name: t, time_zone: {zone}, currency: EUR, budgets: [{{{budget}}}]}}]
    keys: [{{name: k, hash: HASH, tenant: t}}, {{name: k2, hash: HASH, tenant: t}}]
    """


def at(zone: str, *moment: int) -> float:
    return datetime(*moment, tzinfo=ZoneInfo(zone)).timestamp()  # type: ignore[misc,arg-type]  # year, month, day, ...


# -- calendars


@pytest.mark.parametrize(
    ("period", "zone", "inside", "since", "until"),
    [
        ("day", "UTC", (2026, 3, 1, 12), (2026, 3, 1), (2026, 3, 2)),
        ("month", "UTC", (2026, 3, 31, 23, 59), (2026, 3, 1), (2026, 4, 1)),
        ("month", "Asia/Tokyo", (2026, 12, 31, 23), (2026, 12, 1), (2027, 1, 1)),
        ("day", "Europe/Berlin", (2026, 3, 29, 3, 30), (2026, 3, 29), (2026, 3, 30)),  # of 23 hours
        ("day", "America/Sao_Paulo", (2018, 11, 4, 2), (2018, 11, 4), (2018, 11, 5)),  # without a midnight
        ("rolling", "Pacific/Kiritimati", (2026, 1, 1, 1), (2026, 1, 1), (2026, 1, 2)),
        ("month", "America/New_York", (2026, 2, 1), (2026, 2, 1), (2026, 3, 1)),
    ],
)
def test_a_moment_is_in_one_period(
    period: Period, zone: str, inside: tuple[int, ...], since: tuple[int, ...], until: tuple[int, ...]
) -> None:
    calendar = Calendar(period, zone)
    span = calendar.at(at(zone, *inside))
    assert (span.since, span.until) == (at(zone, *since), at(zone, *until))
    assert calendar.at(span.since) == span == calendar.at(span.until - 0.001)
    following = calendar.at(span.until)
    assert (following.previous, following.since) == (span.number, span.until)
    assert calendar.at(span.since - 0.001).number == span.previous


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "UTC"])
def test_periods_follow_each_other_without_a_gap(zone: str) -> None:
    for period in ("day", "month"):
        calendar = Calendar(period, zone)
        span = calendar.at(at("UTC", 2024, 1, 15))
        for _ in range(60):
            following = calendar.at(span.until)
            assert following.since == span.until
            assert following.previous == span.number < following.number
            span = following


def test_a_clock_at_its_beginning_breaks_nothing() -> None:
    for moment in (-1e9, 0.0, 1.0):
        assert Calendar("month", "Asia/Tokyo").at(moment).number >= 0


# -- spending


def test_a_budget_renews_at_the_tenants_midnight(gate, clock) -> None:
    gate = gate(text("amount: 1, period: day", "America/New_York"))
    clock.advance(at("America/New_York", 2026, 9, 21, 23, 59) - clock.now())
    gate.spend(NANO)
    assert gate.refuse(money=1).cause == "budget"
    clock.advance(59.5)
    assert gate.refuse("k2", money=1).cause == "budget"  # one budget of the tenant
    clock.advance(1.0)
    gate.spend(NANO)


def test_a_request_belongs_to_the_period_of_its_admission(gate, clock) -> None:
    gate = gate(text("tokens: 100, period: day"))
    clock.advance(at("UTC", 2026, 9, 21, 23, 59, 59) - clock.now())
    late = gate.take("k", 40, 60)
    clock.advance(2)
    fresh = gate.take("k", 50, 50)
    assert late.settle(clock.monotonic(), 40, 60, 0)
    assert gate.plan().limiter.committed(0)[0] == 100
    assert fresh.settle(clock.monotonic(), 1, 1, 0)
    assert gate.plan().limiter.committed(0)[0] == 2


@pytest.mark.parametrize("jump", [3_600.0, 86_400.0])
@pytest.mark.parametrize("period", ["period: day", "period: month", "period: rolling, days: 3"])
def test_F39_a_jumping_clock_resets_no_budget_twice(gate, clock, jump: float, period: str) -> None:
    """Around the end of a month: however the clock jumps, each period is spent once."""
    gate = gate(text(f"tokens: 100, {period}"))
    end = at("UTC", 2026, 10, 1)
    spent = 0
    for wall in (end - 1, end - 1 + jump, end - 2, end + jump, end - jump / 2, end + 1, end + 3):
        plan, now = gate.plan(), clock.monotonic()
        for _ in range(3):
            ticket = admit(plan, now, wall, 40, 0, 0, gate.told.append)
            if isinstance(ticket, Ticket):
                spent += 40
                ticket.settle(now, 40, 0, 0)
    periods = 1 if "rolling" in period else 3 if (jump > 3_600 and "day" in period) else 2
    assert spent <= 80 * periods


def test_F39_two_workers_whose_clocks_differ_share_each_day(gate, clock) -> None:
    """F39: by 5 s, at midnight."""
    gate = gate(text("tokens: 100, period: day"))
    midnight = at("UTC", 2026, 9, 22)
    plans = [gate.book.plan("k", "llama") for _ in range(2)]
    admitted = 0
    for step in range(-60, 60):
        for plan, skew in zip(plans, (0.0, 5.0), strict=True):
            ticket = admit(plan, clock.monotonic(), midnight + step / 4 + skew, 10, 0, 0, gate.told.append)
            if isinstance(ticket, Ticket):
                ticket.settle(clock.monotonic(), 10, 0, 0)
                admitted += 10
    assert admitted == 200


def test_what_was_left_carries_over_in_part(gate, clock) -> None:
    gate = gate(text("amount: 10, period: month, carry_over: 0.25"))
    gate.spend(9 * NANO)
    clock.advance(at("UTC", 2026, 10, 2) - clock.now())
    gate.spend(11 * NANO)
    assert gate.refuse(money=1).cause == "budget"
    clock.advance(61 * 86_400)  # December: nothing was spent in November
    gate.spend(int(12.5 * NANO))
    assert gate.refuse(money=1).cause == "budget"


def test_a_spent_budget_survives_its_worker_and_a_reload(gate) -> None:
    gate(text("amount: 1")).spend(NANO)
    assert gate(text("amount: 1, thresholds: []")).refuse(money=1).cause == "budget"
    assert isinstance(gate(text("amount: 1.5")).ask(money=1), Ticket)
    assert isinstance(gate(text("name: another, amount: 1")).ask(money=1), Ticket)


def test_a_ledger_that_knows_more_raises_what_is_spent(gate, arena) -> None:
    gate = gate(text("amount: 1"))
    plan = gate.plan()
    gate.spend(NANO // 10)
    purse_of(arena, plan.funds[0]).seed(plan.spans[0].number, NANO - 5)
    assert gate.refuse(money=6).cause == "budget"
    gate.spend(5)


def test_amounts_are_exact_to_the_nano(gate) -> None:
    fund = gate(text("amount: 0.1")).plan().funds[0]
    assert (fund.whole, [level.amount for level in fund.levels]) == (10**8, [5 * 10**7, 8 * 10**7, 10**8])
    assert gate(text("amount: 1000000000")).plan().funds[0].whole == 10**18


# -- thresholds


def told(gate) -> list[int]:
    return [crossing.percent for crossing in gate.told]


def test_each_threshold_is_told_once_a_period_over_all_workers(gate, clock) -> None:
    first, second = gate(text("amount: 10, period: day")), gate(text("amount: 10, period: day"))
    for worker in (first, second, first):
        worker.spend(3 * NANO)
    assert (told(first), told(second)) == ([80], [50])
    assert first.told[0].spent == 9 * NANO
    assert first.told[0].owner == ("t",)
    second.spend(NANO)
    assert (told(first), told(second)) == ([80], [50, 100])
    assert isinstance(second.ask(money=1), Rejection)
    clock.advance(86_400)
    first.spend(6 * NANO)
    second.spend(1)
    assert told(first) + told(second) == [80, 50, 50, 100] or told(first) + told(second) == [80, 50, 50, 100][::1]


def test_what_runs_crosses_nothing(gate, clock) -> None:
    gate = gate(text("amount: 10"))
    running = [gate.take(money=3 * NANO) for _ in range(3)]
    for ticket in running:
        ticket.settle(clock.monotonic(), 0, 0, NANO)
    assert told(gate) == []
    gate.spend(2 * NANO)
    assert told(gate) == [50]


def test_a_budget_that_refuses_is_told_as_exhausted(gate) -> None:
    """Nothing fits any more at 95 %: nobody would learn of it at 100 %."""
    gate = gate(text("amount: 10"))
    gate.spend(int(9.5 * NANO))
    assert told(gate) == [50, 80]
    gate.refuse(money=NANO)
    gate.refuse(money=NANO)
    assert told(gate) == [50, 80, 100]


def test_block_below_the_whole(gate) -> None:
    gate = gate(text("amount: 10, thresholds: [{percent: 60, action: block}]"))
    gate.spend(6 * NANO)
    assert gate.refuse(money=0).cause == "budget"


def test_a_soft_budget_warns_and_goes_on(gate) -> None:
    gate = gate(text("amount: 10, hard: false"))
    gate.spend(25 * NANO)
    gate.spend(25 * NANO)
    assert told(gate) == [50, 80, 100]


def test_a_soft_budget_with_a_block_overshoots_by_what_ran(gate) -> None:
    gate = gate(text("amount: 10, hard: false, thresholds: [{percent: 120, action: block}]"))
    gate.spend(11 * NANO)
    gate.spend(11 * NANO)
    assert gate.refuse(money=0).cause == "budget"


def test_degrade_names_the_cheaper_model_once_enough_is_spent(gate) -> None:
    gate = gate(text("amount: 10, thresholds: [{percent: 80, action: degrade, model: mini}]"))
    running = gate.take(money=9 * NANO)
    assert gate.plan().degrades
    assert degraded_model(gate.plan()) is None  # reserved is not spent
    running.settle(gate.clock.monotonic(), 0, 0, 8 * NANO)
    assert degraded_model(gate.plan()) == "mini"
    gate.ask(model="mini")
    assert degraded_model(gate.plan(model="mini")) is None
    assert [crossing.action for crossing in gate.told] == ["degrade"]


def test_money_is_in_the_tenants_currency(gate) -> None:
    gate = gate(text("amount: 1, thresholds: [{percent: 100}]"))
    gate.spend(NANO)
    assert (gate.told[0].currency, gate.told[0].kind, gate.told[0].whole) == ("EUR", "money", NANO)
    assert datetime.fromtimestamp(gate.told[0].period * 86_400, UTC).date().isoformat() == "2026-09-01"
