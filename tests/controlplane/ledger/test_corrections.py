"""Refunds and adjustments: bounded, once, by whom and why; also when two people act at once."""

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from controlplane.ledger.balances import Subject
from controlplane.ledger.books import Ledger
from controlplane.ledger.corrections import Adjustment, Refund, Refused, UnknownRequest
from controlplane.ledger.tables import REQUESTS, TRANSACTIONS, Book, Flag, Kind
from controlplane.store.database import Database
from tests.controlplane.ledger.facts import (
    ALWAYS,
    CHARGE,
    COST,
    SECRET,
    Now,
    end,
    intent,
    mark,
    refused,
    request_id,
)


def refund(amount: int | None = None, token: str = "t-1", request: int = 1) -> Refund:
    return Refund(request=request_id(request), token=token, reason="outage of May", actor="ada", amount=amount)


def adjustment(amount: int, book: Book = Book.CHARGE, token: str = "t-1", attempt: int | None = None) -> Adjustment:
    return Adjustment(
        request=request_id(1), token=token, reason="wrong price", actor="ada", book=book, amount=amount, attempt=attempt
    )


async def owed(ledger: Ledger) -> tuple[int, int]:
    (balance,) = await ledger.balances(Subject("acme"), ALWAYS)
    return balance.charge, balance.cost


@pytest.fixture
async def settled(ledger: Ledger) -> Ledger:
    await ledger.settlement.settle([intent(1), end(1)])
    return ledger


async def test_a_refund_is_a_new_transaction_with_a_reason(settled: Ledger, database: Database) -> None:
    receipt = await settled.corrections.refund(refund(1_000))
    assert (receipt.amount, receipt.currency, receipt.again) == (1_000, "USD", False)
    assert await owed(settled) == (CHARGE - 1_000, COST)
    async with database.read() as connection:
        row = (await connection.execute(select(TRANSACTIONS).where(TRANSACTIONS.c.id == receipt.id))).one()
        flags = (await connection.execute(select(REQUESTS.c.flags))).scalar_one()
    assert (row.kind, row.reason, row.actor, row.tenant) == (Kind.REFUNDED, "outage of May", "ada", "acme")
    assert flags & Flag.CORRECTED
    assert await settled.violations(at_rest=True) == []


async def test_the_same_order_again_is_the_same_order(settled: Ledger) -> None:
    first = await settled.corrections.refund(refund(1_000))
    again = await settled.corrections.refund(refund(1_000))
    assert (again.id, again.again) == (first.id, True)
    assert await owed(settled) == (CHARGE - 1_000, COST)
    with pytest.raises(Refused, match="use a new one"):
        await settled.corrections.refund(refund(999))


async def test_all_that_is_left(settled: Ledger) -> None:
    await settled.corrections.refund(refund(1_000))
    assert (await settled.corrections.refund(refund(None, "t-2"))).amount == CHARGE - 1_000
    assert await owed(settled) == (0, COST)
    with pytest.raises(Refused, match="0 nano-units"):
        await settled.corrections.refund(refund(None, "t-3"))


@pytest.mark.parametrize("amount", [0, -1, CHARGE + 1, 2**62, 2**63])
async def test_no_refund_beyond_the_original(settled: Ledger, amount: int) -> None:
    with pytest.raises(Refused):
        await settled.corrections.refund(refund(amount))
    assert await owed(settled) == (CHARGE, COST)


async def test_forty_who_refund_at_once_give_back_no_more_than_was_charged(settled: Ledger, url: str, now: Now) -> None:
    others = [await Database.open(url) for _ in range(2)]
    ledgers = [settled, *(Ledger(other, SECRET, now=now) for other in others)]
    orders = [ledgers[n % 3].corrections.refund(refund(CHARGE // 4, f"t-{n}")) for n in range(40)]
    results = await asyncio.gather(*orders, return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 4
    assert {type(result) for result in results if isinstance(result, BaseException)} == {Refused}
    assert await owed(settled) == (CHARGE - CHARGE // 4 * 4, COST)
    assert await settled.violations(at_rest=True) == []
    for other in others:
        await other.close()


async def test_the_same_refund_sent_by_two_at_once_is_one(settled: Ledger) -> None:
    receipts = await asyncio.gather(*(settled.corrections.refund(refund(100)) for _ in range(8)))
    assert [receipt.again for receipt in receipts].count(False) == 1
    assert await owed(settled) == (CHARGE - 100, COST)


@pytest.mark.parametrize("facts", [[], [refused(1)]], ids=["unknown", "never charged"])
async def test_what_was_never_charged_is_not_refunded(ledger: Ledger, facts: list[Any]) -> None:
    await ledger.settlement.settle(facts)
    with pytest.raises(UnknownRequest):
        await ledger.corrections.refund(refund(1))


async def test_what_runs_is_not_refunded(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), mark(1)])
    with pytest.raises(Refused, match="not over"):
        await ledger.corrections.refund(refund(1))


@pytest.mark.parametrize("field", ["token", "reason", "actor"])
@pytest.mark.parametrize("text", ["", "  ", "a\0b", "x" * 2_000, "two\nlines"])
async def test_who_and_why_are_asked(settled: Ledger, field: str, text: str) -> None:
    with pytest.raises(Refused, match=field):
        await settled.corrections.refund(msgspec.structs.replace(refund(1), **{field: text}))


async def test_adjustments_change_either_book(settled: Ledger) -> None:
    await settled.corrections.adjust(adjustment(-600))
    await settled.corrections.adjust(adjustment(50, token="t-2"))
    await settled.corrections.adjust(adjustment(-COST, Book.COST, attempt=1))
    assert await owed(settled) == (CHARGE - 550, 0)
    assert (await settled.corrections.adjust(adjustment(-600))).again
    assert await owed(settled) == (CHARGE - 550, 0)
    assert await settled.violations(at_rest=True) == []


async def test_an_adjustment_has_bounds(settled: Ledger) -> None:
    await settled.corrections.refund(refund(1_000))
    for amount in (-CHARGE + 999, 0, 2**62, -(2**63)):
        with pytest.raises(Refused):
            await settled.corrections.adjust(adjustment(amount))
    with pytest.raises(Refused):
        await settled.corrections.adjust(adjustment(-COST - 1, Book.COST))
    with pytest.raises(UnknownRequest):
        await settled.corrections.adjust(adjustment(1, Book.COST, attempt=2))
    await settled.corrections.adjust(adjustment(-CHARGE + 1_000))
    assert await owed(settled) == (0, COST)


async def test_a_late_end_keeps_to_what_was_refunded_and_adjusted(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), mark(1)])
    await ledger.settlement.settle_abandoned([request_id(1)])
    await ledger.corrections.refund(refund(2_000))
    await ledger.corrections.adjust(adjustment(-100))
    await ledger.settlement.settle([end(1, outcome="error")])
    assert await owed(ledger) == (0, COST), "what was charged is what was refunded"
    assert await ledger.violations(at_rest=True) == []
