"""Routes of money: usage, invoices, refunds, and how settling them gets on.

What a role sees is cut to its reach: a tenant-admin's tenant, a developer's own user. What providers charge is for
those who see the whole gateway; a tenant does not learn its provider's price.
"""

from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from controlplane.access.principal import Principal
from controlplane.access.roles import ADMINS, EVERYBODY, PROVIDER_READERS, Role, only
from controlplane.api.parameters import IdInPath, TheTrail, Who
from controlplane.api.rules import all_ruled, under
from controlplane.audit.trail import Subject, Trail, Wanted
from controlplane.ledger.balances import Period
from controlplane.ledger.corrections import LedgerError, Receipt, Refund, UnknownRequest
from controlplane.problem import conflict, invalid, missing
from controlplane.settlement.billing import Billing
from controlplane.settlement.figures import Figures
from controlplane.settlement.periods import days_of, month_of
from controlplane.settlement.reports import By, Customer, Filter, Reports, Usage
from controlplane.settlement.sheets import (
    Amount,
    InvoiceLine,
    InvoiceView,
    UsageLine,
    UsageView,
    as_csv,
    show_invoice,
    show_usage,
)
from fastpath.money.amount import AmountError, format_nano, parse_nano

#: Who is told what a tenant owes. A developer's own part is in its usage.
INVOICE_READERS: Final = only(Role.ADMIN, Role.AUDITOR, Role.TENANT_ADMIN)
MOST_LINES: Final = 10_000

TheBilling = NamedDependency[Billing]
Named = Annotated[str | None, QueryParameter(min_length=1, max_length=256, description="Only what this one used.")]
Month = Annotated[str | None, QueryParameter(max_length=32, description="YYYY-MM; without it, the month that is.")]
Day = Annotated[str | None, QueryParameter(max_length=32, description="YYYY-MM-DD, included; instead of a month.")]
Format = Annotated[Literal["json", "csv"], QueryParameter(description="Of the answer.")]
Grouping = Annotated[By, QueryParameter(description="What a line is about.")]


class Stake(msgspec.Struct, frozen=True):
    """What is in quarantine in one currency, and at most how much the books may lack for it."""

    currency: str
    facts: int
    amount: Amount


class Unaccounted(msgspec.Struct, frozen=True):
    """Requests settled by estimate because their end is lost, and at most how much more they used. XXX: not known."""

    currency: str
    requests: int
    amount: Amount


class SettlementView(Figures, frozen=True, kw_only=True):
    """How settling gets on."""

    object: Literal["settlement"] = "settlement"
    quarantine: list[Stake]
    lost_bound: list[Unaccounted]


class RefundDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Money to give back for one request."""

    request: Annotated[str, Meta(pattern="^(req_)?[0-9a-f]{32}$", description="Id of the request, as callers see it.")]
    reason: Annotated[str, Meta(min_length=1, max_length=1000, description="Kept in the ledger for good.")]
    token: Annotated[
        str, Meta(min_length=1, max_length=128, description="Yours: the same one again is the same refund.")
    ]
    amount: Annotated[str, Meta(max_length=32, description="Decimal text. null: all that is left.")] | None = None


class RefundView(msgspec.Struct, frozen=True, kw_only=True):
    """A refund."""

    object: Literal["refund"] = "refund"
    id: str
    request: str
    amount: Amount
    currency: str
    again: Annotated[bool, Meta(description="It was made before, by an order with this token.")]


@get("/admin/v1/usage", opt=under(EVERYBODY))
async def get_usage(
    billing: TheBilling,
    who: Who,
    tenant_id: Named = None,
    team_id: Named = None,
    user_id: Named = None,
    key_id: Named = None,
    model: Named = None,
    by: Grouping = "tenant",
    month: Month = None,
    start: Day = None,
    end: Day = None,
    format: Format = "json",
) -> Response[UsageView]:
    """Show requests, tokens and money of a month or some days, by tenant, team, user, key, model or day."""
    wanted = Filter(tenant_id, team_id, user_id, key_id, model)
    within = _within(wanted, who)
    known = None if within.tenant is None else await billing.reports.customer(within.tenant)
    zone = _zone_of(known)
    period = _period_of(month, start, end, zone, billing.reports)
    rows = await billing.reports.usage(within, by, period, zone) if _is_in_reach(wanted, who) else []
    if len(rows) > MOST_LINES:
        raise invalid(f"That is more than {MOST_LINES} lines: ask for one tenant, or fewer days.", "by")
    view = show_usage(rows, by, period, zone.key, with_cost=not who.role.in_tenant)
    return _answer(view, view.data, UsageLine, format, f"usage-{view.start[:10]}")


@get("/admin/v1/invoices/{object_id:str}", opt=under(INVOICE_READERS))
async def get_invoice(
    billing: TheBilling,
    who: Who,
    object_id: IdInPath,
    month: Month = None,
    format: Format = "json",
) -> Response[InvoiceView]:
    """Show what a tenant owes for a month of its time zone: a line for each model, refunds, totals."""
    if not _may_see(object_id, who.tenant):
        raise missing("tenant")
    customer = await billing.reports.customer(object_id)
    zone = _zone_of(customer)
    period = month_of(month, zone, billing.reports.now())
    rows = await billing.reports.invoice(object_id, period)
    if customer is None:
        customer = _guess_customer(object_id, rows)
    view = show_invoice(object_id, customer, period, rows, with_cost=not who.role.in_tenant)
    return _answer(view, view.lines, InvoiceLine, format, f"invoice-{view.start[:10]}")


@post("/admin/v1/ledger/refunds", opt=under(ADMINS))
async def create_refund(billing: TheBilling, trail: TheTrail, who: Who, data: JSONBody[RefundDraft]) -> RefundView:
    """Give back all or part of what a request was charged."""
    request = data.request.removeprefix("req_")
    order = Refund(
        request=bytes.fromhex(request),
        token=data.token,
        reason=data.reason,
        actor=who.name if who.name.isprintable() else who.id,
        amount=_nano_of(data.amount),
    )
    try:
        receipt = await billing.ledger.corrections.refund(order)
    except UnknownRequest:
        raise missing("charged request") from None
    except LedgerError as error:
        raise conflict(f"Not refunded: {error}.", "refund_refused", "amount") from None
    view = RefundView(
        id=receipt.id.hex(),
        request=request,
        amount=format_nano(receipt.amount),
        currency=receipt.currency,
        again=receipt.again,
    )
    await _record(trail, who, receipt, {"request": request, "amount": view.amount, "reason": data.reason})
    return view


@get("/admin/v1/settlement", opt=under(PROVIDER_READERS))
async def get_settlement(billing: TheBilling) -> SettlementView:
    """Show how far usage is settled, what waits, and what is in quarantine."""
    stakes = await billing.ledger.stakes()
    shown = [Stake(stake.currency, stake.facts, format_nano(stake.amount)) for stake in stakes]
    bounds = await billing.ledger.lost_bound()
    lost = [Unaccounted(bound.currency, bound.requests, format_nano(bound.amount)) for bound in bounds]
    figures = msgspec.structs.asdict(billing.service.figures())
    return SettlementView(**figures, quarantine=shown, lost_bound=lost)


def _answer(view: Any, lines: Any, shape: type[msgspec.Struct], form: str, name: str) -> Response[Any]:
    if form == "json":
        return Response(view)
    headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
    return Response(as_csv(lines, shape), media_type="text/csv; charset=utf-8", headers=headers)


def _may_see(asked: str | None, own: str | None) -> bool:
    return own is None or asked is None or asked == own


def _is_in_reach(wanted: Filter, who: Principal) -> bool:
    """What lies out of reach is as empty as what never was."""
    return _may_see(wanted.tenant, who.tenant) and _may_see(wanted.user, who.user)


def _within(wanted: Filter, who: Principal) -> Filter:
    return msgspec.structs.replace(wanted, tenant=who.tenant or wanted.tenant, user=who.user or wanted.user)


def _zone_of(customer: Customer | None) -> ZoneInfo:
    if customer is None:
        return ZoneInfo("UTC")
    try:
        return ZoneInfo(customer.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise conflict(
            "This machine does not know the tenant's time zone: install tzdata, or change it.", "time_zone"
        ) from None


def _period_of(month: str | None, start: str | None, end: str | None, zone: ZoneInfo, reports: Reports) -> Period:
    if start is None and end is None:
        return month_of(month, zone, reports.now())
    if month is not None or start is None or end is None:
        raise invalid("Send `month`, or both `start` and `end`.", "start")
    return days_of(start, end, zone)


def _guess_customer(tenant: str, rows: list[Usage]) -> Customer:
    """Of a tenant that only the ledger knows. Raises a 404 when it does not either."""
    if not rows:
        raise missing("tenant")
    return Customer(tenant, rows[0].currency, "UTC")


def _nano_of(amount: str | None) -> int | None:
    try:
        return None if amount is None else parse_nano(amount)
    except AmountError as error:
        raise invalid(f"`amount` {error}.", "amount") from None


async def _record(trail: Trail, who: Principal, receipt: Receipt, told: dict[str, str]) -> None:
    """The ledger has the refund already. An order that is sent again after a crash in between makes up for this."""
    key = receipt.id.hex()
    if receipt.again and await trail.entries(Wanted(1, object=key)):
        return
    async with trail.change(who.actor) as change:
        await change.record("ledger.refund", Subject("refund", key), None, told | {"currency": receipt.currency})


ROUTES = all_ruled((get_usage, get_invoice, create_refund, get_settlement))
