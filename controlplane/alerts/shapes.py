"""What the admin API takes and shows of alerts and their destinations. Times are Unix seconds.

No view holds a signing secret but `IssuedDestination`, once.
"""

from typing import Annotated, Any, Final, Literal, Self

from msgspec import UNSET, Meta, Struct, UnsetType

from controlplane.alerts.tables import State
from controlplane.alerts.webhook import amount_text, period_text, start_text
from controlplane.identity.shapes import Disabled, Name
from controlplane.ids import ObjectId

MICROS: Final = 1_000_000
STATES: Final[dict[str, State]] = {state.name.lower(): state for state in State}

Url = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=2048,
        description="Where alerts are posted to: https. A private or loopback address, and plain http to loopback, "
        "only when an admin says so, for hosts in `control.allow_hosts`. Redirects are not followed.",
    ),
]


class DestinationDraft(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A new destination of alerts."""

    name: Name
    url: Url
    tenant_id: Annotated[ObjectId | None, Meta(description="Whose alerts. null: all, which only an admin may say.")] = (
        None
    )


class DestinationEdits(Struct, forbid_unknown_fields=True, kw_only=True):
    """Changes to a destination. What is not sent stays as it is."""

    name: Name | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    disabled: Disabled | UnsetType = UNSET


class DestinationView(Struct, kw_only=True, frozen=True):
    """A destination of alerts."""

    object: Literal["alert_destination"] = "alert_destination"
    id: ObjectId
    name: str
    tenant_id: Annotated[str | None, Meta(description="null: alerts of all tenants.")]
    url: str
    disabled: bool
    owner: Annotated[str, Meta(description="`api`, or `file`: then it is changed in the settings file.")]
    created_at: int
    updated_at: int


class IssuedDestination(Struct, frozen=True):
    """A destination with its signing secret, which is shown this once."""

    secret: Annotated[str, Meta(description="`whsec_...`: what the receiver checks signatures with. Keep it now.")]
    destination: DestinationView


class DeliveryView(Struct, frozen=True):
    """How one destination is told."""

    destination_id: str
    destination: str
    state: Annotated[Literal["waiting", "delivered", "dead"], Meta(description="dead: given up, see `problem`.")]
    tries: int
    next_try_at: Annotated[int | None, Meta(description="Of a waiting one.")]
    problem: Annotated[str, Meta(description="Of the last try; empty: there was none.")]
    updated_at: int

    @classmethod
    def of(cls, row: Any) -> Self:
        """A delivery's row, with the name of its destination."""
        state = State(row.state)
        due = row.due_at // MICROS if state is State.WAITING else None
        name: Any = state.name.lower()
        return cls(row.destination_id, row.name, name, row.tries, due, row.problem, row.updated_at // MICROS)


class AlertView(Struct, kw_only=True, frozen=True):
    """So much of a budget was spent."""

    object: Literal["alert"] = "alert"
    id: ObjectId
    webhook_id: str
    tenant: Annotated[str, Meta(description="Its id, or its name in the settings file.")]
    scope: Annotated[str, Meta(description="Whose budget: tenant, team, user or key.")]
    owner: Annotated[str, Meta(description="Its names in the settings, joined by slashes.")]
    budget: str
    kind: Annotated[str, Meta(description="money or tokens.")]
    currency: str
    percent: int
    action: str
    spent: Annotated[str, Meta(description="When it was told. Decimal text, of the currency or tokens.")]
    amount: Annotated[str, Meta(description="The whole budget.")]
    period: Annotated[str, Meta(description="`day`, `month`, or a number of days.")]
    period_start: Annotated[str, Meta(description="Its first day in the tenant's time zone.")]
    crossed_at: int
    created_at: int
    deliveries: list[DeliveryView]


class Resent(Struct, frozen=True):
    """What is tried again."""

    deliveries: int


def view_destination(row: Any) -> DestinationView:
    """A destination as the API shows it."""
    return DestinationView(
        id=row.id,
        name=row.name,
        tenant_id=row.tenant,
        url=row.url,
        disabled=row.disabled,
        owner=row.owner,
        created_at=row.created_at // MICROS,
        updated_at=row.updated_at // MICROS,
    )


def view_alert(row: Any, deliveries: list[DeliveryView]) -> AlertView:
    """An alert as the API shows it."""
    return AlertView(
        id=row.id,
        webhook_id=f"alert_{row.id}",
        tenant=row.tenant,
        scope=row.scope,
        owner=row.name,
        budget=row.budget,
        kind=row.kind,
        currency=row.currency,
        percent=row.percent,
        action=row.action,
        spent=amount_text(row.kind, row.spent),
        amount=amount_text(row.kind, row.whole),
        period=period_text(row.span, row.days),
        period_start=start_text(row.period, row.days),
        crossed_at=row.crossed_at // MICROS,
        created_at=row.created_at // MICROS,
        deliveries=deliveries,
    )
