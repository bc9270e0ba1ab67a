"""One row of a price list, as people write it, and the Price that it means.

Owns the columns, their units and what makes a row wrong by itself. Amounts are decimal text in whole units of the
currency: per million tokens, or per piece for images and requests. How rows stand to each other is `table`. Pure.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec

from fastpath.money.amount import PICO_DIGITS, AmountError, parse_scaled
from fastpath.money.currency import CurrencyError, check_currency
from scheduler.money import Price

#: A price per million tokens with so many decimals is a whole number of pico-units per token.
TOKEN_DIGITS = PICO_DIGITS - 6
#: Pico-units of any one price: beyond a unit for a token, or ten thousand for a piece, it is a slip of the pen.
MOST_PER_TOKEN = 10**PICO_DIGITS
MOST_PER_PIECE = 10 ** (PICO_DIGITS + 4)

_TOKEN_COLUMNS = (
    "input", "output", "cached", "cache_write", "cache_write_long", "reasoning", "audio_input", "audio_output",
)  # fmt: skip
_PIECE_COLUMNS = ("image", "request")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,255}")
_DATE_MARK = "{date}"
_DATES = r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}|[0-9]{4})"


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Amounts as decimal text. A part that is left out costs what its whole does (see `Price`)."""

    input: str | None = None
    output: str | None = None
    cached: str | None = None
    cache_write: str | None = None
    cache_write_long: str | None = None
    reasoning: str | None = None
    audio_input: str | None = None
    audio_output: str | None = None
    image: str | None = None
    request: str | None = None


class LongRates(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the whole request costs instead when its prompt has more tokens than `over`."""

    over: int


class PriceRow(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price of one model from one day (UTC) until the next row's, or until `until`, which it no longer covers.

    `names`: other names that cost the same; `{date}` in one stands for a date suffix. `context` and `max_output` are
    the model's own bounds in tokens, 0 when they are not known. `source` names the public list, `read` the day of it.
    """

    provider: str
    model: str
    start: date = msgspec.field(name="from")
    until: date | None = None
    currency: str
    source: str
    read: date
    long: tuple[LongRates, ...] = ()
    names: tuple[str, ...] = ()
    context: int = 0
    max_output: int = 0
    note: str = ""


def find_mistakes(row: PriceRow) -> Iterator[str]:
    """Everything that is wrong with a row by itself."""
    try:
        check_currency(row.currency)
    except CurrencyError as error:
        yield str(error)
    for column, name in (("provider", row.provider), ("model", row.model)):
        if not _NAME.fullmatch(name):
            yield f"{column} must be letters, digits and . _ : @ / + -, beginning with a letter or a digit"
    if not row.source.strip():
        yield "source must name the public list that the price is from"
    if row.until is not None and row.until <= row.start:
        yield "until must be later than from"
    if row.input is None and row.image is None and row.request is None:
        yield "says no price: write input, image or request, 0 if it is free"
    if row.context < 0 or row.max_output < 0:
        yield "context and max_output must not be negative"
    yield from _find_rate_mistakes(row, "")
    yield from _find_tier_mistakes(row.long)
    for name in row.names:
        if not _NAME.fullmatch(name.replace(_DATE_MARK, "0", 1)):
            yield f"the name {name!r} must be a model's name, with {_DATE_MARK} at most once"


def price_of(row: PriceRow) -> Price:
    """The price that a row without mistakes means, its tiers for long prompts included."""
    tiers = [_price(rates, row) for rates in (row, *row.long)]
    for index in range(len(tiers) - 1, 0, -1):
        tiers[index - 1] = msgspec.structs.replace(
            tiers[index - 1], long=tiers[index], long_from=row.long[index - 1].over
        )
    return name_version(tiers[0], f"{row.provider}/{row.model}@{row.start}")


def name_version(price: Price, name: str) -> Price:
    """The price with a version of its name and a digest of its numbers, so that no two prices ever share one."""
    digest = hashlib.blake2b(msgspec.msgpack.encode(price), digest_size=4).hexdigest()
    return msgspec.structs.replace(price, version=f"{name}#{digest}")


def pattern_of(name: str) -> "re.Pattern[str] | None":
    """What a name with `{date}` in it matches; None for a plain name."""
    if _DATE_MARK not in name:
        return None
    before, _, after = name.partition(_DATE_MARK)
    return re.compile(re.escape(before) + _DATES + re.escape(after))


def _find_rate_mistakes(rates: Rates, where: str) -> Iterator[str]:
    for columns, digits, most in (
        (_TOKEN_COLUMNS, TOKEN_DIGITS, MOST_PER_TOKEN),
        (_PIECE_COLUMNS, PICO_DIGITS, MOST_PER_PIECE),
    ):
        for column in columns:
            text = getattr(rates, column)
            if text is not None and (mistake := _judge(text, digits, most)):
                yield f"{where}{column} {mistake}"


def _judge(text: str, digits: int, most: int) -> str | None:
    try:
        pico = parse_scaled(text, digits)
    except AmountError as error:
        return str(error)
    if pico < 0:
        return "must not be negative"
    return "is beyond any price: write whole units of the currency per million tokens" if pico > most else None


def _find_tier_mistakes(tiers: tuple[LongRates, ...]) -> Iterator[str]:
    last = 0
    for index, tier in enumerate(tiers):
        where = f"long[{index}]."
        if tier.over <= last:
            yield f"{where}over must be above zero and above the tier before it"
        if tier.input is None:
            yield f"{where}input is missing: a tier says all its prices"
        last = tier.over
        yield from _find_rate_mistakes(tier, where)


def _price(rates: Rates, row: PriceRow) -> Price:
    pico = {column: _pico(getattr(rates, column), TOKEN_DIGITS) for column in _TOKEN_COLUMNS}
    pieces = {column: _pico(getattr(rates, column), PICO_DIGITS) or 0 for column in _PIECE_COLUMNS}
    values: dict[str, Any] = {**pico, **pieces, "input": pico["input"] or 0, "output": pico["output"] or 0}
    return Price(version="", currency=row.currency, **values)


def _pico(text: str | None, digits: int) -> int | None:
    return None if text is None else parse_scaled(text, digits)
