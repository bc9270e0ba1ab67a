"""Reports as the API shows them, and as CSV. Amounts are exact decimal text: readers would round a JSON number.

Owns the shapes and the text. Does not own the sums (`reports`). Pure.
"""

import csv
import io
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from controlplane.ledger.balances import Period
from controlplane.settlement.periods import moment
from controlplane.settlement.reports import By, Customer, Usage
from fastpath.money.amount import format_nano

Amount = Annotated[str, Meta(description="Decimal text in whole units of the currency, exact to nine places.")]
Cost = Annotated[
    str | None,
    Meta(description="What providers charge, in their own currency. Decimal text; null: not for this role."),
]
#: What a spreadsheet takes for a formula; callers name models.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class UsageLine(Struct, frozen=True):
    """What one of them used, in one currency (XXX: no price was known)."""

    name: str
    currency: str
    requests: int
    input_tokens: int
    output_tokens: int
    charge: Annotated[str, Meta(description="What is owed, refunds taken off. Decimal text.")]
    cost: Cost


class UsageView(Struct, frozen=True, kw_only=True):
    """Usage by the time of admission. `end` is the first moment that is not counted."""

    object: Literal["usage"] = "usage"
    by: By
    start: str
    end: str
    time_zone: str
    data: list[UsageLine]


class InvoiceLine(Struct, frozen=True):
    """One model, in one currency."""

    model: str
    currency: str
    requests: int
    input_tokens: int
    output_tokens: int
    charge: Amount
    refunded: Amount
    total: Amount
    cost: Cost


class Total(Struct, frozen=True):
    """Of all lines in one currency."""

    currency: str
    charge: Amount
    refunded: Amount
    total: Amount
    cost: Cost


class InvoiceView(Struct, frozen=True, kw_only=True):
    """What a tenant owes for a month of its time zone. Corrections and refunds count in the month of their request."""

    object: Literal["invoice"] = "invoice"
    tenant_id: str
    name: str
    currency: Annotated[str, Meta(description="In which the tenant is billed.")]
    start: str
    end: str
    time_zone: str
    lines: list[InvoiceLine]
    totals: list[Total]


def show_usage(rows: Sequence[Usage], by: By, period: Period, zone: str, *, with_cost: bool) -> UsageView:
    """Rows of a report, for somebody who may see what providers charge, or may not."""
    rows = rows if with_cost else _without_cost(rows)
    data = [
        UsageLine(
            row.name,
            row.currency,
            row.requests,
            row.input_tokens,
            row.output_tokens,
            format_nano(row.net),
            format_nano(row.cost) if with_cost else None,
        )
        for row in rows
    ]
    return UsageView(by=by, start=moment(period.start), end=moment(period.end), time_zone=zone, data=data)


def show_invoice(
    tenant: str, customer: Customer, period: Period, rows: Sequence[Usage], *, with_cost: bool
) -> InvoiceView:
    """An invoice of these lines. Without cost, lines that are of nothing else are left out."""
    rows = rows if with_cost else _without_cost(rows)
    totals: dict[str, Usage] = {}
    for row in rows:
        totals.setdefault(row.currency, Usage("", row.currency)).add(row)
    totals.setdefault(customer.currency, Usage("", customer.currency))
    return InvoiceView(
        tenant_id=tenant,
        name=customer.name,
        currency=customer.currency,
        start=moment(period.start),
        end=moment(period.end),
        time_zone=customer.time_zone,
        lines=[_line(row, with_cost) for row in rows],
        totals=[Total(currency, *_money(total), _cost(total, with_cost)) for currency, total in sorted(totals.items())],
    )


def _without_cost(rows: Sequence[Usage]) -> Sequence[Usage]:
    """Without the rows that are of cost alone: in a provider's currency, where tenants are billed in another."""
    return [row for row in rows if row.requests or row.charge or row.refunded]


def _line(row: Usage, with_cost: bool) -> InvoiceLine:
    counts = (row.requests, row.input_tokens, row.output_tokens)
    return InvoiceLine(row.name, row.currency, *counts, *_money(row), _cost(row, with_cost))


def _cost(row: Usage, with_cost: bool) -> str | None:
    return format_nano(row.cost) if with_cost else None


def _money(row: Usage) -> tuple[str, str, str]:
    return format_nano(row.charge), format_nano(row.refunded), format_nano(row.net)


def as_csv(lines: Sequence[Struct], shape: type[Struct]) -> bytes:
    """A line for each, and first their names. A text that a spreadsheet would run gets an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(shape.__struct_fields__)
    for line in lines:
        values = msgspec.structs.astuple(line)
        writer.writerow([_guarded(name, value) for name, value in zip(shape.__struct_fields__, values, strict=True)])
    return text.getvalue().encode()


def _guarded(name: str, value: object) -> object:
    is_text = name in ("name", "model") and isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if is_text else value
