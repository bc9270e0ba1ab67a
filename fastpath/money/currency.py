"""Currencies and the rates between them, pinned by date.

Owns the currencies that prices and bills may be in (ISO 4217), the table of rates and the one conversion: from the
provider's exact pico-units to a tenant's nano-units with a single rounding. A rate is decimal text and stays exact; it
is never inverted or chained, because either would be a rate that nobody published. Pure: days come in as seconds.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

import msgspec

from fastpath.money.amount import AmountError, check_nano, format_nano, parse_scaled
from scheduler.money import divide_half_even

#: ISO 4217 codes that may be used, with the decimals of their smallest coin.
CURRENCIES: Mapping[str, int] = {
    "AED": 2, "AUD": 2, "BRL": 2, "CAD": 2, "CHF": 2, "CNY": 2, "CZK": 2, "DKK": 2, "EUR": 2, "GBP": 2,
    "HKD": 2, "HUF": 2, "IDR": 2, "ILS": 2, "INR": 2, "JPY": 0, "KRW": 0, "KWD": 3, "MXN": 2, "MYR": 2,
    "NOK": 2, "NZD": 2, "PHP": 2, "PLN": 2, "SAR": 2, "SEK": 2, "SGD": 2, "THB": 2, "TRY": 2, "TWD": 2,
    "USD": 2, "VND": 0, "ZAR": 2,
}  # fmt: skip
#: Decimals of a rate: one Vietnamese dong is about 0.0000380 dollars, with eight digits that count.
RATE_DIGITS = 12
_PICO_PER_NANO = 1_000
_PPM = 1_000_000


class CurrencyError(ValueError):
    """A currency or rate that cannot be used. The message says which, and what to add or change."""


class Rate(msgspec.Struct, frozen=True, array_like=True):
    """What one unit of `source` was in units of `target` on a day."""

    source: str
    target: str
    day: date
    scaled: int  # the rate times 10**RATE_DIGITS


class RateRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rate as it is written down: `{from: USD, to: CNY, date: 2026-11-20, rate: "7.1068"}`."""

    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    day: date = msgspec.field(name="date")
    rate: str


class RateTable:
    """Rates by pair and day, checked whole when it is made. Immutable afterwards."""

    __slots__ = ("_pairs",)

    def __init__(self, rows: Iterable[RateRow] = ()) -> None:
        """Raises CurrencyError for the first row that cannot be used."""
        pairs: dict[tuple[str, str], dict[date, Rate]] = {}
        for number, row in enumerate(rows, 1):
            rate = _rate_of(row, number)
            days = pairs.setdefault((rate.source, rate.target), {})
            if rate.day in days:
                raise CurrencyError(f"rate {number}: {row.source} to {row.target} on {row.day} is there twice")
            days[rate.day] = rate
        self._pairs = {pair: sorted(days.items()) for pair, days in pairs.items()}

    def find(self, source: str, target: str, at: float) -> Rate | None:
        """The rate of the UTC day of `at` (Unix seconds), or of the last day before it that has one.

        None: both currencies are the same. Raises CurrencyError when no rate is known for that day.
        """
        if source == target:
            return None
        day = datetime.fromtimestamp(at, UTC).date()
        days = self._pairs.get((source, target), [])
        index = bisect_right(days, day, key=lambda item: item[0])
        if not index:
            raise CurrencyError(f"no rate from {source} to {target} is known on {day}: add one of that day or before")
        return days[index - 1][1]


def check_currency(code: str) -> str:
    """`code` itself when it may be used. Raises CurrencyError."""
    if code not in CURRENCIES:
        raise CurrencyError(f"{code!r} is not a currency that is known here: write an ISO 4217 code such as USD")
    return code


def charge_of(pico: int, markup_ppm: int = 0, rate: Rate | None = None) -> int:
    """Nano-units of the tenant's currency for a cost in pico-units of the provider's: marked up, converted, and then
    rounded once, half to even. Raises AmountError when no ledger entry could hold it."""
    number = pico * (_PPM + markup_ppm)
    divisor = _PPM * _PICO_PER_NANO
    if rate is not None:
        number *= rate.scaled
        divisor *= 10**RATE_DIGITS
    return check_nano(divide_half_even(number, divisor))


def convert_nano(nano: int, rate: Rate | None) -> int:
    """An amount in the rate's target, rounded once. None leaves it as it is."""
    return nano if rate is None else check_nano(divide_half_even(nano * rate.scaled, 10**RATE_DIGITS))


def format_money(nano: int, currency: str) -> str:
    """For people: the exact amount with at least the decimals of the currency's smallest coin, then its code."""
    return f"{format_nano(nano, CURRENCIES[check_currency(currency)])} {currency}"


def _rate_of(row: RateRow, number: int) -> Rate:
    try:
        check_currency(row.source)
        check_currency(row.target)
        scaled = parse_scaled(row.rate, RATE_DIGITS)
    except (AmountError, CurrencyError) as error:
        raise CurrencyError(f"rate {number} ({row.source} to {row.target}, {row.day}): {error}") from None
    if scaled <= 0 or row.source == row.target:
        raise CurrencyError(f"rate {number}: must be above zero, and between two currencies")
    return Rate(row.source, row.target, row.day, scaled)
