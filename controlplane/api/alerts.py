"""Routes of budget alerts, how each is delivered, and of whom they are sent to."""

from typing import Annotated, Literal

from litestar import delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from controlplane.access.roles import ALERT_READERS, ALERT_SENDERS, TENANT_CHIEFS
from controlplane.alerts.alerting import Alerting
from controlplane.alerts.shapes import (
    AlertView,
    DestinationDraft,
    DestinationEdits,
    DestinationView,
    IssuedDestination,
    Resent,
)
from controlplane.api.parameters import IdInPath, ThePage, Who
from controlplane.api.rules import all_ruled, under
from controlplane.paging import Listing

TheAlerting = NamedDependency[Alerting]
InState = Annotated[
    Literal["waiting", "delivered", "dead"] | None, QueryParameter(description="Only with a delivery in this state.")
]


@get("/admin/v1/alerts", opt=under(ALERT_READERS))
async def list_alerts(alerting: TheAlerting, who: Who, page: ThePage, delivery: InState = None) -> Listing[AlertView]:
    """List alerts of budgets, each with how its destinations were told."""
    return await alerting.register.list(who, page, delivery)


@get("/admin/v1/alerts/{object_id:str}", opt=under(ALERT_READERS))
async def get_alert(alerting: TheAlerting, who: Who, object_id: IdInPath) -> AlertView:
    """Show an alert."""
    return await alerting.register.get(who, object_id)


@post("/admin/v1/alerts/{object_id:str}/resend", opt=under(ALERT_SENDERS), status_code=200)
async def resend_alert(alerting: TheAlerting, who: Who, object_id: IdInPath) -> Resent:
    """Send an alert again to the destinations that it was given up for."""
    return await alerting.register.resend(who, object_id)


@get("/admin/v1/alert-destinations", opt=under(ALERT_READERS))
async def list_alert_destinations(alerting: TheAlerting, who: Who, page: ThePage) -> Listing[DestinationView]:
    """List whom alerts are sent to."""
    return await alerting.destinations.list(who, page)


@post("/admin/v1/alert-destinations", opt=under(TENANT_CHIEFS))
async def create_alert_destination(
    alerting: TheAlerting, who: Who, data: JSONBody[DestinationDraft]
) -> IssuedDestination:
    """Send alerts to a URL from now on. The signing secret is in this answer and never again."""
    return await alerting.destinations.create(who, data)


@get("/admin/v1/alert-destinations/{object_id:str}", opt=under(ALERT_READERS))
async def get_alert_destination(alerting: TheAlerting, who: Who, object_id: IdInPath) -> DestinationView:
    """Show a destination of alerts, without its secret."""
    return await alerting.destinations.get(who, object_id)


@patch("/admin/v1/alert-destinations/{object_id:str}", opt=under(TENANT_CHIEFS))
async def edit_alert_destination(
    alerting: TheAlerting, who: Who, object_id: IdInPath, data: JSONBody[DestinationEdits]
) -> DestinationView:
    """Change the fields of a destination that are sent."""
    return await alerting.destinations.edit(who, object_id, data)


@delete("/admin/v1/alert-destinations/{object_id:str}", opt=under(TENANT_CHIEFS))
async def delete_alert_destination(alerting: TheAlerting, who: Who, object_id: IdInPath) -> None:
    """Send nothing there any more."""
    await alerting.destinations.delete(who, object_id)


ROUTES = all_ruled(
    (
        list_alerts,
        get_alert,
        resend_alert,
        list_alert_destinations,
        create_alert_destination,
        get_alert_destination,
        edit_alert_destination,
        delete_alert_destination,
    )
)
