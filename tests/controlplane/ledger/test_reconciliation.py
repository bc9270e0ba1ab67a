"""A provider's statement makes cost exact, once, and lists what differs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import event, update

from controlplane.ledger.balances import Period, Subject
from controlplane.ledger.books import Ledger
from controlplane.ledger.reconciliation import Difference, Statement, Verdict
from controlplane.ledger.statement import UNSAID, BadLine, Line, StatementError, parse_statement
from controlplane.ledger.tables import ATTEMPTS, QUARTER_MICROS
from controlplane.ledger.unaccounted import LostBound
from controlplane.store.database import Database
from fastpath.money.price import Billable
from tests.controlplane.ledger.facts import (
    ALWAYS,
    CHARGE,
    COST,
    RESERVED,
    T0,
    delivered,
    end,
    failed,
    intent,
    mark,
    refused,
    request_id,
)

DAY = Period(
    int(T0 * 1_000_000) // QUARTER_MICROS * QUARTER_MICROS, (int(T0 * 1_000_000) // QUARTER_MICROS + 1) * QUARTER_MICROS
)


def line(request: int, amount: int, attempt: int = 1, currency: str = "USD") -> Line:
    return Line(request_id(request), attempt, currency, amount)


def statement(
    *lines: Line, name: str = "2026-05", complete: Period | None = None, provider: str = "openai-1"
) -> Statement:
    return Statement(name, provider, lines, complete)


def verdicts(differences: list[Difference]) -> list[tuple[Verdict, int, int]]:
    return [(found.verdict, int.from_bytes(found.request, "big"), found.attempt) for found in differences]


async def cost_of(ledger: Ledger, currency: str = "USD") -> int:
    return {found.currency: found.cost for found in await ledger.balances(Subject("acme"), ALWAYS)}[currency]


async def test_differences_are_posted_and_listed(ledger: Ledger) -> None:
    await ledger.settlement.settle([fact for n in (1, 2, 3) for fact in (intent(n), end(n))])
    result = await ledger.reconciler.reconcile(statement(line(1, COST), line(2, COST + 7), line(3, 0), line(9, 5)))
    assert result.matched == 1
    assert verdicts(result.differences) == [
        (Verdict.CORRECTED, 2, 1),
        (Verdict.CORRECTED, 3, 1),
        (Verdict.UNKNOWN_REQUEST, 9, 1),
    ]
    assert [(found.booked, found.stated) for found in result.differences] == [(COST, COST + 7), (COST, 0), (0, 5)]
    assert [found.transaction is None for found in result.differences] == [False, False, True]
    assert await cost_of(ledger) == 2 * COST + 7
    assert await ledger.violations(at_rest=True) == []


async def test_a_statement_sent_again_or_by_many_at_once_is_posted_once(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), end(1)])
    results = await asyncio.gather(*(ledger.reconciler.reconcile(statement(line(1, 10))) for _ in range(6)))
    assert sorted(len(result.differences) for result in results) == [0, 0, 0, 0, 0, 1]
    assert await cost_of(ledger) == 10


async def test_a_later_statement_overrules_an_earlier_one(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), end(1)])
    for amount in (10, 0, 77, 10, COST):
        await ledger.reconciler.reconcile(statement(line(1, amount), name=f"s-{amount}"))
        assert await cost_of(ledger) == amount
    assert await ledger.violations(at_rest=True) == []


async def test_what_cannot_be_compared_is_listed_and_left(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), mark(1), intent(2), end(2), refused(3)])
    result = await ledger.reconciler.reconcile(
        statement(line(1, 5), line(2, 5, attempt=2), line(2, 5, currency="EUR"), line(3, 5))
    )
    assert verdicts(result.differences) == [
        (Verdict.OPEN, 1, 1),
        (Verdict.UNKNOWN_ATTEMPT, 2, 2),
        (Verdict.OTHER_CURRENCY, 2, 1),
        (Verdict.UNKNOWN_ATTEMPT, 3, 1),
    ]
    assert await cost_of(ledger) == COST


async def test_an_attempt_we_thought_was_free(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), intent(1, 2), end(1, failed(1), delivered(2))])
    for _ in range(2):
        result = await ledger.reconciler.reconcile(statement(line(1, 900)))
    assert result.differences == []
    assert await cost_of(ledger) == COST + 900
    await ledger.reconciler.reconcile(statement(line(1, 400), name="corrected"))
    assert await cost_of(ledger) == COST + 400
    assert await ledger.violations(at_rest=True) == []


async def test_one_without_a_price_gets_the_providers(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1, price=None), end(1)])
    for _ in range(2):
        result = await ledger.reconciler.reconcile(statement(line(1, 900)))
    assert result.matched == 1
    assert await cost_of(ledger) == 900
    await ledger.reconciler.reconcile(statement(line(1, 100), name="corrected"))
    assert await cost_of(ledger) == 100


async def test_a_complete_statement_says_what_was_not_charged(ledger: Ledger) -> None:
    await ledger.settlement.settle([fact for n in (1, 2) for fact in (intent(n), end(n))])
    await ledger.settlement.settle([intent(3, endpoint="other"), end(3)])
    await ledger.settlement.settle([intent(4, ts=T0 - 86_400), end(4)])
    for expected in ([(Verdict.MISSING, 2, 1)], []):
        result = await ledger.reconciler.reconcile(statement(line(1, COST), complete=DAY))
        assert result.matched == 1
        assert verdicts(result.differences) == expected
        assert await cost_of(ledger) == 3 * COST


async def test_no_late_end_overrules_a_statement(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), mark(1, usage=Billable(input=1)), intent(2), mark(2)])
    await ledger.settlement.settle_abandoned([request_id(1), request_id(2)])
    result = await ledger.reconciler.reconcile(statement(line(1, 5_555), line(2, COST)))
    assert (result.matched, verdicts(result.differences)) == (1, [(Verdict.CORRECTED, 1, 1)])
    await ledger.settlement.settle([end(1), end(2, delivered(1, Billable(input=7)))])
    assert await cost_of(ledger) == 5_555 + COST
    (balance,) = await ledger.balances(Subject("acme"), ALWAYS)
    assert balance.charge == CHARGE + 23, "the tenant's charge follows usage: 7 * 3 nano-units, and markup"
    assert await ledger.violations(at_rest=True) == []


async def test_a_statement_that_came_before_what_it_is_about(ledger: Ledger) -> None:
    """A Mark, given up, then its Intent, then the statement, and its End last: found by the state machine."""
    for number, stated in ((1, 0), (2, 900)):
        await ledger.settlement.settle([mark(number)])
        await ledger.settlement.settle_abandoned([request_id(number)])
        await ledger.settlement.settle([intent(number)])
        await ledger.reconciler.reconcile(statement(line(number, stated)))
        await ledger.settlement.settle([end(number)])
    (balance,) = await ledger.balances(Subject("acme"), ALWAYS)
    assert (balance.charge, balance.cost, balance.requests) == (2 * CHARGE, 900, 2)
    assert await ledger.violations(at_rest=True) == []


async def test_what_was_held_bounds_what_an_estimate_may_lack(ledger: Ledger) -> None:
    assert await ledger.lost_bound() == []
    await ledger.settlement.settle([intent(1), end(1), intent(2), mark(2), intent(3), mark(3, usage=Billable(input=1))])
    await ledger.settlement.settle([intent(4, price=None), mark(4), mark(5), intent(6), intent(6, 2)])
    assert await ledger.lost_bound() == [], "what runs may still tell everything"
    await ledger.settlement.settle([end(7), intent(8), end(8, failed(1, Billable(input=1)), delivered(2))])
    assert await ledger.lost_bound() == [], "their Intents may yet come"
    await ledger.settlement.settle_abandoned([request_id(n) for n in range(2, 9)])
    (balance,) = [found for found in await ledger.balances(Subject("acme"), ALWAYS) if found.currency == "USD"]
    charged = balance.charge - CHARGE
    assert 0 < charged < 4 * RESERVED
    assert await ledger.lost_bound() == [LostBound("USD", 4, 4 * RESERVED - charged), LostBound("XXX", 3, 0)]
    await ledger.settlement.settle([end(3), intent(7)])
    assert [(one.currency, one.requests) for one in await ledger.lost_bound()] == [("USD", 3), ("XXX", 2)]


async def test_a_kept_intent_that_nobody_can_read_counts_as_a_lost_one(ledger: Ledger, database: Database) -> None:
    await ledger.settlement.settle([intent(1), intent(2), mark(2)])
    await ledger.settlement.settle_abandoned([request_id(1), request_id(2)])
    async with database.begin() as connection:
        damaged = update(ATTEMPTS).where(ATTEMPTS.c.request == request_id(1)).values(intent=b"\x93\x02\xa1\xff")
        await connection.execute(damaged)
    assert await ledger.lost_bound() == [LostBound("USD", 1, RESERVED - CHARGE), LostBound("XXX", 1, 0)]


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda ledger: ledger.lost_bound(), "ix_ledger_requests_estimated"),
        (lambda ledger: ledger.settlement.open_requests(4e9), "ix_ledger_requests_open"),
    ],
    ids=["estimated", "open"],
)
async def test_requests_in_another_state_are_not_read_to_find_those_in_this_one(
    ledger: Ledger, database: Database, ask: Callable[[Ledger], Awaitable[list[Any]]], index: str
) -> None:
    await ledger.settlement.settle([fact for n in range(100) for fact in (intent(n), end(n))])
    asked: list[tuple[str, Any]] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *call: asked.append(call[2:4]))
    assert await ask(ledger) == []
    ((query, values),) = [one for one in asked if "ledger_requests" in one[0]]
    async with database.read() as connection:
        if database.dialect == "postgresql":  # which reads a hundred rows rather than any index
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = await connection.exec_driver_sql(
            f"EXPLAIN {'QUERY PLAN' if database.dialect == 'sqlite' else ''} {query}", values
        )
        steps = " ".join(str(row[-1]) for row in plan)
    assert index in steps, steps


async def test_a_line_without_an_attempt_is_only_taken_when_there_was_one(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), end(1)])  # one attempt, here
    await ledger.settlement.settle([intent(2, endpoint="other"), end(2)])  # one attempt, elsewhere
    await ledger.settlement.settle([intent(3), intent(3, 2), end(3, failed(1), delivered(2))])  # the first cost nothing
    usage = Billable(input=1)
    both = end(4, failed(1, usage), delivered(2))
    await ledger.settlement.settle([intent(4, endpoint="other"), intent(4, 2), both])  # one here, one elsewhere
    await ledger.settlement.settle([intent(5), intent(5, 2), end(5, failed(1, usage), delivered(2))])  # two here
    await ledger.settlement.settle([intent(6), mark(6)])
    before = await cost_of(ledger)
    result = await ledger.reconciler.reconcile(statement(*(line(n, COST + n, UNSAID) for n in range(1, 8))))
    assert verdicts(result.differences) == [
        (Verdict.CORRECTED, 1, 1),
        (Verdict.OTHER_PROVIDER, 2, UNSAID),
        (Verdict.WHICH_ATTEMPT, 3, UNSAID),
        (Verdict.CORRECTED, 4, 2),
        (Verdict.WHICH_ATTEMPT, 5, UNSAID),
        (Verdict.OPEN, 6, 1),
        (Verdict.UNKNOWN_REQUEST, 7, UNSAID),
    ]
    assert await cost_of(ledger) == before + 1 + 4
    again = await ledger.reconciler.reconcile(statement(line(1, COST + 1, UNSAID), line(3, COST + 3, 2)))
    assert (again.matched, verdicts(again.differences)) == (1, [(Verdict.CORRECTED, 3, 2)])
    assert await ledger.violations() == []


async def test_a_line_without_an_attempt_is_not_a_second_one_for_what_another_says(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), end(1)])
    result = await ledger.reconciler.reconcile(statement(line(1, 7, UNSAID), line(1, 9)))
    assert verdicts(result.differences) == [(Verdict.ANOTHER_LINE, 1, UNSAID), (Verdict.CORRECTED, 1, 1)]
    assert await cost_of(ledger) == 9


async def test_an_attempt_at_another_provider_is_left_to_that_one(ledger: Ledger) -> None:
    """Whatever the amount: the other one's statement may have spoken, and a late End must still find its estimate."""
    await ledger.settlement.settle([intent(1, endpoint="other"), end(1), intent(2, endpoint="other"), mark(2)])
    both = end(3, failed(1, Billable(input=1)), delivered(2))
    await ledger.settlement.settle([intent(3, endpoint="other"), intent(3, 2, endpoint="third"), both])
    await ledger.settlement.settle_abandoned([request_id(2)])
    await ledger.reconciler.reconcile(statement(line(1, 77), provider="other"))
    before = await cost_of(ledger)
    lines = line(1, 5), line(2, 0), line(3, 5, UNSAID), line(3, COST, 2)
    result = await ledger.reconciler.reconcile(statement(*lines))
    assert verdicts(result.differences) == [
        (Verdict.OTHER_PROVIDER, 1, 1),
        (Verdict.OTHER_PROVIDER, 2, 1),
        (Verdict.OTHER_PROVIDER, 3, UNSAID),
        (Verdict.OTHER_PROVIDER, 3, 2),
    ]
    assert [found.endpoints for found in result.differences] == [("other",), ("other",), ("other", "third"), ("third",)]
    assert [found.booked for found in result.differences] == [77, COST, 0, COST]
    assert (result.matched, await cost_of(ledger)) == (0, before)
    await ledger.settlement.settle([end(2, delivered(1, Billable(input=7)))])
    assert await cost_of(ledger) == before - COST + 21
    again = await ledger.reconciler.reconcile(statement(line(1, 77), line(2, 21), provider="other"))
    assert (again.matched, again.differences) == (2, [])
    assert await ledger.violations(at_rest=True) == []


async def test_an_attempt_that_only_a_statement_knows_is_at_its_provider(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), intent(1, 2), end(1, failed(1), delivered(2))])
    await ledger.reconciler.reconcile(statement(line(1, 900)))
    result = await ledger.reconciler.reconcile(statement(line(1, 400), provider="other"))
    assert verdicts(result.differences) == [(Verdict.OTHER_PROVIDER, 1, 1)]
    assert await cost_of(ledger) == COST + 900


async def test_a_request_that_made_no_attempt_has_none_to_name(ledger: Ledger) -> None:
    await ledger.settlement.settle([refused(1)])
    result = await ledger.reconciler.reconcile(statement(line(1, 5, UNSAID)))
    assert verdicts(result.differences) == [(Verdict.UNKNOWN_ATTEMPT, 1, UNSAID)]


async def test_what_a_line_without_a_place_may_be_about_is_not_missing(ledger: Ledger) -> None:
    twice = [failed(1, Billable(input=1)), delivered(2)]
    await ledger.settlement.settle([intent(1, endpoint="other"), intent(1, 2), end(1, *twice)])
    await ledger.settlement.settle([intent(2), end(2), intent(3), end(3)])
    before = await cost_of(ledger)
    result = await ledger.reconciler.reconcile(statement(line(1, 5), line(2, 5, 9), complete=DAY))
    assert verdicts(result.differences) == [
        (Verdict.OTHER_PROVIDER, 1, 1),
        (Verdict.UNKNOWN_ATTEMPT, 2, 9),
        (Verdict.MISSING, 3, 1),
    ]
    assert await cost_of(ledger) == before - COST


async def test_what_a_complete_statement_left_open_is_not_missing(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), intent(1, 2), end(1, failed(1, Billable(input=1)), delivered(2))])
    await ledger.settlement.settle([intent(2), end(2)])
    before = await cost_of(ledger)
    result = await ledger.reconciler.reconcile(statement(line(1, 5, UNSAID), line(2, COST, UNSAID), complete=DAY))
    assert (result.matched, verdicts(result.differences)) == (1, [(Verdict.WHICH_ATTEMPT, 1, UNSAID)])
    assert await cost_of(ledger) == before


HEAD = "request,attempt,amount,currency,note\n"
HEX = request_id(1).hex()


def test_a_statement_is_parsed() -> None:
    text = f"{HEAD}{HEX},2,0.000000001,USD,x\nreq_{request_id(2).hex()},,12,EUR,\n"
    lines, bad = parse_statement(text.splitlines())
    assert lines == [line(1, 1, 2), line(2, 12 * 10**9, UNSAID, "EUR")]
    assert bad == []


@pytest.mark.parametrize(
    "row",
    [
        f"{HEX},1,1e3,USD",
        f"{HEX},1,NaN,USD",
        f"{HEX},1,-1,USD",
        f"{HEX},1,0.0000000001,USD",
        f"{HEX},1,99999999999999,USD",
        f"{HEX},1,,USD",
        f"{HEX},0,1,USD",
        f"{HEX},1.0,1,USD",
        f"{HEX},1,1,usd",
        f"{HEX},1,1",
        "abc,1,1,USD",
        f"{HEX}\u0661,1,1,USD",
        '"',
    ],
)
def test_a_bad_line_is_told_by_its_number(row: str) -> None:
    text = f"{HEAD}{request_id(2).hex()},1,1,USD,\n{row}\n"
    if row == '"':
        with pytest.raises(StatementError, match="no CSV"):
            parse_statement(text.splitlines())
        return
    lines, bad = parse_statement(text.splitlines())
    assert lines == [line(2, 10**9)]
    assert [found.number for found in bad] == [3]


def test_a_second_line_for_an_attempt_is_bad() -> None:
    lines, bad = parse_statement([HEAD, f"{HEX},1,1,USD,\n", f"req_{HEX},1,2,USD,\n"])
    assert lines == [line(1, 10**9)]
    assert bad == [BadLine(3, "an earlier line has the same request and attempt")]


def test_a_text_without_its_columns_is_no_statement() -> None:
    with pytest.raises(StatementError, match="amount, currency is missing"):
        parse_statement(["request,price\n"])
    with pytest.raises(StatementError):
        parse_statement([])
