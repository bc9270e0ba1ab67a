"""Amounts as text and back, exactly.

Owns the two scales (nano-units of money, pico-units of prices) and their decimal texts. A text is digits with at most
one point: no sign but a leading minus, no exponent, no grouping, so that one amount has one reading. Pure.
"""

import re

from scheduler.money import MOST_NANO

NANO_DIGITS = 9
PICO_DIGITS = 12
_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]{0,29})(?:\.([0-9]{1,30}))?", re.ASCII)


class AmountError(ValueError):
    """A text that is not an amount, or one too fine or too large to be kept exactly. The message says what to write."""


def parse_scaled(text: str, digits: int) -> int:
    """The number in `text` times 10**digits, exactly. Raises AmountError for more decimals than `digits`."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise AmountError("must be a decimal number such as 12 or 0.075: digits and at most one point")
    sign, whole, decimals = match[1], match[2], (match[3] or "").rstrip("0")
    if len(decimals) > digits:
        raise AmountError(f"has {len(decimals)} decimals, and {digits} can be kept exactly: round it yourself")
    scaled = int(whole + decimals.ljust(digits, "0"))
    return -scaled if sign else scaled


def format_scaled(number: int, digits: int, least: int = 0) -> str:
    """`number / 10**digits` as a decimal text, exactly; trailing zeros are dropped down to `least` decimals."""
    whole, rest = divmod(abs(number), 10**digits)
    decimals = f"{rest:0{digits}d}".rstrip("0").ljust(least, "0") if digits else ""
    sign = "-" if number < 0 else ""
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def parse_nano(text: str) -> int:
    """Nano-units from a decimal text of whole units: "1.5" is 1_500_000_000. Raises AmountError, also beyond int64."""
    nano = parse_scaled(text, NANO_DIGITS)
    check_nano(nano)
    return nano


def format_nano(nano: int, least: int = 0) -> str:
    """Nano-units as a decimal text of whole units, exactly, with at least `least` decimals."""
    return format_scaled(nano, NANO_DIGITS, least)


def check_nano(nano: int) -> int:
    """`nano` itself when a ledger can hold it. Raises AmountError."""
    if not -MOST_NANO <= nano <= MOST_NANO:
        raise AmountError("is beyond what a ledger entry can hold, 4.6 thousand million units")
    return nano
