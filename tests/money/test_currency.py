"""Amounts as text, currencies, and conversion by dated rates."""

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.money.amount import AmountError, check_nano, format_nano, format_scaled, parse_nano, parse_scaled
from fastpath.money.currency import (
    CURRENCIES,
    CurrencyError,
    Rate,
    RateRow,
    RateTable,
    charge_of,
    convert_nano,
    format_money,
)
from fastpath.money.price import MOST_NANO


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0), ("1", 10**9), ("-1", -(10**9)), ("1.5", 1_500_000_000), ("0.000000001", 1), ("-0.000000001", -1),
        ("12.340000000", 12_340_000_000), ("0.1000000000000", 100_000_000), ("4611686018", 4_611_686_018 * 10**9),
    ],
)  # fmt: skip
def test_amounts_are_read_exactly(text: str, nano: int) -> None:
    assert parse_nano(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "+1",
        "1.",
        ".5",
        "1e3",
        "1,5",
        "1_000",
        "NaN",
        "inf",
        "0x1",
        "01",
        "--1",
        "1.2.3",
        "１",
        "١",
        "1\n",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(AmountError, match="decimal number"):
        parse_nano(text)


def test_what_is_too_fine_or_too_large_is_refused() -> None:
    with pytest.raises(AmountError, match="10 decimals, and 9"):
        parse_nano("0.0000000001")
    with pytest.raises(AmountError, match="ledger"):
        parse_nano("4611686018.5")
    with pytest.raises(AmountError, match="ledger"):
        check_nano(-MOST_NANO - 1)
    assert check_nano(-MOST_NANO) == -MOST_NANO


@given(st.integers(-MOST_NANO, MOST_NANO))
def test_text_and_back(nano: int) -> None:
    text = format_nano(nano)
    assert parse_nano(text) == nano
    assert Decimal(text) == Decimal(nano) / 10**9
    assert "e" not in text.lower()


@given(st.integers(1 - 10**30, 10**30 - 1), st.integers(0, 12), st.integers(0, 4))
def test_scaled_text_and_back(number: int, digits: int, least: int) -> None:
    assert parse_scaled(format_scaled(number, digits, min(least, digits)), digits) == number


def test_money_for_people() -> None:
    assert format_money(1_500_000_000, "USD") == "1.50 USD"
    assert format_money(1_234_567_891, "CNY") == "1.234567891 CNY"
    assert format_money(-3_000_000_000, "JPY") == "-3 JPY"
    with pytest.raises(CurrencyError, match="ISO 4217"):
        format_money(1, "usd")


def test_currencies_are_three_capitals() -> None:
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)
    assert {"USD", "CNY", "EUR"} <= set(CURRENCIES)


ROWS = [
    RateRow("USD", "CNY", date(2026, 11, 20), "7.10"),
    RateRow("USD", "CNY", date(2026, 11, 18), "7.0"),
    RateRow("CNY", "USD", date(2026, 11, 18), "0.14"),
    RateRow("USD", "VND", date(2026, 11, 18), "26315.789473684211"),
]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2026-11-18T00:00:00", 18), ("2026-11-18T23:59:59.999", 18), ("2026-11-19T12:00:00", 18),
        ("2026-11-20T00:00:00", 20), ("2027-01-01T00:00:00", 20),
    ],
)  # fmt: skip
def test_the_rate_is_that_of_the_day_or_the_last_before_it(moment: str, day: int) -> None:
    rate = RateTable(ROWS).find("USD", "CNY", at(moment))
    assert rate is not None
    assert rate.day == date(2026, 11, day)


def test_no_rate_is_made_up() -> None:
    table = RateTable(ROWS)
    assert table.find("USD", "USD", 0.0) is None
    for source, target, moment in (
        ("USD", "CNY", "2026-11-17T23:59:59"), ("CNY", "VND", "2026-11-20"), ("VND", "USD", "2026-11-20"),
    ):  # fmt: skip
        with pytest.raises(CurrencyError, match=f"no rate from {source} to {target}"):
            table.find(source, target, at(moment))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (RateRow("USD", "XXX", date(2026, 1, 1), "1"), "'XXX' is not a currency"),
        (RateRow("USD", "CNY", date(2026, 1, 1), "0"), "above zero"),
        (RateRow("USD", "CNY", date(2026, 1, 1), "-7"), "above zero"),
        (RateRow("USD", "USD", date(2026, 1, 1), "1"), "two currencies"),
        (RateRow("USD", "CNY", date(2026, 1, 1), "7.1234567890123"), "13 decimals, and 12"),
        (RateRow("USD", "CNY", date(2026, 1, 1), "7,1"), "decimal number"),
        (RateRow("USD", "CNY", date(2026, 11, 18), "7.2"), "there twice"),
    ],
)
def test_rates_that_cannot_be_used(row: RateRow, message: str) -> None:
    with pytest.raises(CurrencyError, match=message):
        RateTable([*ROWS, row])


def test_a_rate_as_it_is_written() -> None:
    row = msgspec.convert({"from": "USD", "to": "CNY", "date": "2026-11-20", "rate": "7.10"}, RateRow)
    assert row == ROWS[0]
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"from": "USD", "to": "CNY", "date": "2026-11-20", "rate": 7.1}, RateRow)


SCALED = st.integers(1, 10**18)


@given(st.integers(0, 10**24), st.integers(-900_000, 4_000_000), SCALED)
def test_a_charge_is_rounded_once(pico: int, markup: int, scaled: int) -> None:
    exact = Fraction(pico * (10**6 + markup) * scaled, 10**6 * 10**3 * 10**12)
    if round(exact) > MOST_NANO:
        with pytest.raises(AmountError):
            charge_of(pico, markup, rate(scaled))
    else:
        assert charge_of(pico, markup, rate(scaled)) == round(exact)


def test_rounding_in_steps_would_differ() -> None:
    """1,500 pico-dollars at 1.01 yuan: 1.515 nano-yuan are 2; by way of 2 nano-dollars it would be 2.02. At 1.4: 2.1
    against 2.8, which is 3."""
    assert charge_of(1_500, 0, rate(1_400_000_000_000)) == 2
    assert convert_nano(charge_of(1_500), rate(1_400_000_000_000)) == 3


def test_amounts_are_converted_half_to_even() -> None:
    half = rate(500_000_000_000)
    assert [convert_nano(nano, half) for nano in (1, 2, 3, 5, -1, -3)] == [0, 1, 2, 2, 0, -2]
    assert convert_nano(7, None) == 7


def rate(scaled: int) -> Rate:
    return Rate("USD", "CNY", date(2026, 11, 20), scaled)
