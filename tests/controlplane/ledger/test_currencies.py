"""Cost in the provider's currency, charge in the tenant's: two prices, markup, one rounding, and no rate is guessed."""

from datetime import date
from fractions import Fraction

import msgspec
import pytest

from controlplane.ledger.balances import Subject
from controlplane.ledger.books import Ledger
from controlplane.ledger.corrections import Refund
from controlplane.ledger.dockets import Judge
from controlplane.ledger.posting import Posting
from controlplane.ledger.rules import charge_of, cost_of
from controlplane.ledger.tables import Book, Flag
from fastpath.money.currency import RATE_DIGITS, Rate
from fastpath.money.price import Billable, Price
from fastpath.outbox.facts import Intent
from tests.controlplane.ledger.facts import ALWAYS, COST, PRICE, T0, USAGE, delivered, end, failed, intent, mark
from tests.controlplane.ledger.test_fold import apply, fresh, sums

LIST = Price("settings/gpt-x#1", "USD", input=4_000, output=20_000)
RATE = Rate("USD", "CNY", date(2026, 11, 20), 71_068 * 10 ** (RATE_DIGITS - 4))
CHARGE = (1_000 * 4 + 200 * 20) * 11 // 10


def foreign(request: int, attempt: int = 1, **more: object) -> Intent:
    """Priced in dollars by a list of its own, billed in yuan."""
    told = {"charge": LIST, "currency": "CNY", "rate": RATE, **more}
    return msgspec.structs.replace(intent(request, attempt, reserved=10**9), **told)


def posted(postings: list[Posting], book: Book) -> Posting:
    (found,) = [posting for posting in postings if posting.book is book]
    return found


def test_cost_is_by_the_providers_price_and_charge_by_the_tenants() -> None:
    told = msgspec.structs.replace(intent(1), charge=LIST)
    fold = apply(fresh(), told, end(1))
    assert sums(fold.postings) == {("COST", "USD"): COST, ("CHARGE", "USD"): CHARGE}
    assert posted(fold.postings, Book.COST).price == PRICE.version
    assert posted(fold.postings, Book.CHARGE).price == LIST.version


def test_a_bill_is_converted_by_the_rate_that_was_pinned_and_rounded_once() -> None:
    fold = apply(fresh(), foreign(1), end(1))
    exact = Fraction((1_000 * 4_000 + 200 * 20_000) * 1_100_000 * 71_068, 10**6 * 10**3 * 10**4)
    assert sums(fold.postings) == {("COST", "USD"): COST, ("CHARGE", "CNY"): round(exact)}
    assert (fold.record.currency, fold.record.charged) == ("CNY", round(exact))
    assert not fold.record.flags & Flag.DISPUTED


@pytest.mark.parametrize(("pico", "scaled", "nano"), [(500, 10**12, 0), (1_500, 10**12, 2), (500, 5 * 10**12, 2)])
def test_a_half_goes_to_the_even_nano_unit(pico: int, scaled: int, nano: int) -> None:
    told = foreign(1, markup_ppm=0, charge=Price("v", "USD", input=pico), rate=Rate("USD", "CNY", date.min, scaled))
    assert told.charge is not None
    assert charge_of(told, told.charge, Billable(input=1)).nano == nano


def test_a_conversion_and_back_loses_at_most_its_two_roundings() -> None:
    back = Rate("CNY", "USD", date.min, 10 ** (2 * RATE_DIGITS) // RATE.scaled)
    told = foreign(1, markup_ppm=0)
    there = charge_of(told, LIST, USAGE).nano
    again = msgspec.structs.replace(told, currency="USD", rate=back, charge=Price("v", "CNY", request=there * 1_000))
    assert again.charge is not None
    assert abs(charge_of(again, again.charge, Billable()).nano - 8_000) <= 1


def test_what_was_set_aside_in_yuan_bounds_no_dollars() -> None:
    """The reservation is of the bill: it says nothing of what the provider asks."""
    told = foreign(1, reserved=10)
    assert cost_of(told, PRICE, USAGE).nano == COST
    assert (charge_of(told, LIST, USAGE).nano, charge_of(told, LIST, USAGE).claimed is not None) == (10, True)
    cheaper = msgspec.structs.replace(intent(1, reserved=COST * 9 // 10), markup_ppm=-100_000)
    assert cost_of(cheaper, PRICE, USAGE).claimed is None


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (foreign(1, rate=None), "no rate from USD to CNY"),
        (foreign(1, rate=Rate("EUR", "CNY", date.min, 1)), "other currencies"),
        (foreign(1, rate=msgspec.structs.replace(RATE, scaled=0)), "out of range"),
        (foreign(1, currency="yuan"), "no ISO 4217 code"),
        (foreign(1, currency="USD"), "nothing to convert"),
        (foreign(1, charge=Price("v", "USD", input=-1)), "the price is out of range"),
        (foreign(1, price=None, charge=None), "no rate from XXX to CNY"),
    ],
)
def test_what_cannot_be_converted_goes_to_a_person(told: Intent, reason: str) -> None:
    assert reason in (Judge(T0, 3_600.0).find_fault(told) or "")


async def test_both_currencies_are_in_the_books_and_every_sum_agrees(ledger: Ledger) -> None:
    twice = [foreign(2), foreign(2, 2), end(2, failed(1, USAGE), delivered(2))]
    await ledger.settlement.settle([foreign(1), end(1), *twice])
    balances = {balance.currency: balance for balance in await ledger.balances(Subject("acme"), ALWAYS)}
    charge = round(Fraction(CHARGE * 71_068, 10**4))
    assert set(balances) == {"CNY", "USD"}
    assert (balances["CNY"].charge, balances["CNY"].cost, balances["CNY"].requests) == (2 * charge, 0, 2)
    assert (balances["USD"].charge, balances["USD"].cost, balances["USD"].requests) == (0, 3 * COST, 0)
    assert await ledger.violations(at_rest=True) == []


async def test_a_missing_rate_is_seen_with_what_is_at_stake(ledger: Ledger) -> None:
    await ledger.settlement.settle([foreign(1, rate=None), intent(2), end(2)])
    (stake,) = await ledger.stakes()
    assert (stake.currency, stake.facts, stake.amount) == ("CNY", 1, 10**9)


async def test_a_refund_is_in_the_currency_of_the_bill(ledger: Ledger) -> None:
    await ledger.settlement.settle([foreign(1), end(1)])
    order = Refund(request=foreign(1).request, token="t", reason="r", actor="a")
    receipt = await ledger.corrections.refund(order)
    assert (receipt.currency, receipt.amount) == ("CNY", round(Fraction(CHARGE * 71_068, 10**4)))
    assert await ledger.violations(at_rest=True) == []


async def test_an_estimate_is_corrected_in_both_currencies(ledger: Ledger) -> None:
    await ledger.settlement.settle([foreign(1), mark(1, usage=Billable(input=10))])
    await ledger.settlement.settle_abandoned([foreign(1).request])
    await ledger.settlement.settle([end(1)])
    balances = {balance.currency: balance for balance in await ledger.balances(Subject("acme"), ALWAYS)}
    assert balances["USD"].cost == COST
    assert balances["CNY"].charge == round(Fraction(CHARGE * 71_068, 10**4))
    assert await ledger.violations(at_rest=True) == []
