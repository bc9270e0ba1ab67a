"""A provider's statement as text: CSV with one line for each attempt that it charged.

Columns, by the names in its first line: `request` (`req_` and 32 hex digits, or the digits), `attempt` (may be absent:
then only requests with one attempt at that provider can be compared), `amount` (a decimal of the currency, at most nine
decimals), `currency` (ISO 4217). Others are left alone. Owns the parsing; a line that is none is told by its number and
does not stop the others. Pure.
"""

import csv
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from fastpath.money.amount import NANO_DIGITS, AmountError, parse_scaled
from fastpath.money.price import MOST_NANO

_REQUEST: Final = re.compile(r"(?:req_)?([0-9a-fA-F]{32})", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_ATTEMPT: Final = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)


UNSAID: Final = 0
"""The attempt of a line that says none."""


class Line(msgspec.Struct, frozen=True):
    """What the provider charged for one attempt."""

    request: bytes
    attempt: int  # from 1, or UNSAID
    currency: str
    amount: int  # nano-units


class BadLine(msgspec.Struct, frozen=True):
    """`number`: as an editor counts, the head being line 1."""

    number: int
    problem: str


class StatementError(ValueError):
    """The text as a whole is no statement. The message says what its first line must name."""


def parse_statement(text: Iterable[str]) -> tuple[list[Line], list[BadLine]]:
    """Lines and bad lines. A second line for the same attempt is bad. Raises StatementError."""
    reader = csv.DictReader(text, strict=True)
    lines: dict[tuple[bytes, int], Line] = {}
    bad: list[BadLine] = []
    try:
        missing = {"request", "amount", "currency"} - set(reader.fieldnames or ())
        if missing:
            raise StatementError(f"the first line must name the columns: {', '.join(sorted(missing))} is missing")
        for row in reader:
            line = _parse_line(row)
            if isinstance(line, str):
                bad.append(BadLine(reader.line_num, line))
            elif (line.request, line.attempt) in lines:
                bad.append(BadLine(reader.line_num, "an earlier line has the same request and attempt"))
            else:
                lines[line.request, line.attempt] = line
    except csv.Error as error:
        raise StatementError(f"line {reader.line_num} is no CSV: {error}") from error
    return list(lines.values()), bad


def _parse_line(row: dict[str, str | None]) -> Line | str:
    request = _REQUEST.fullmatch((row["request"] or "").strip())
    attempt = (row.get("attempt") or "").strip()
    currency = (row["currency"] or "").strip()
    if request is None:
        return "the request is not 32 hex digits"
    if attempt and _ATTEMPT.fullmatch(attempt) is None:
        return "the attempt is no number from 1 to 999"
    if _CURRENCY.fullmatch(currency) is None:
        return "the currency is no ISO 4217 code"
    try:
        amount = parse_scaled((row["amount"] or "").strip(), NANO_DIGITS)
    except AmountError as error:
        return f"the amount {error}"
    if not 0 <= amount <= MOST_NANO:
        return "the amount is below zero or beyond what a ledger holds"
    return Line(bytes.fromhex(request[1]), int(attempt or UNSAID), currency, amount)
