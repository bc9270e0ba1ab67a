"""Why a request finds no endpoint that may have its data: what its caller reads. Names no endpoint and no URL."""

from typing import TYPE_CHECKING, Final, Literal

from fastpath import errors
from fastpath.errors import GatewayError
from fastpath.identity.scope import DATA_CLASS

if TYPE_CHECKING:
    from fastpath.context import RequestContext
    from fastpath.guard.classes import Classes
    from fastpath.settings import DataClass

#: Seconds after which to ask again where places failed, and where there are none until settings change.
SOON: Final = 5.0
LATE: Final = 60.0
Cause = Literal["failed", "unserved", "withdrawn"]
_CAUSES: Final[dict[Cause, str]] = {
    "failed": "The model servers there failed or do not answer",
    "unserved": "This model is served nowhere there",
    "withdrawn": "The model server that answered does not count as one any more",
}
_WHERE: Final = {"P0": "tiers L0 and L1", "P1": "tiers L0 and L1", "P2": "any tier"}


def unavailable(ctx: "RequestContext", cause: Cause, retry_after: float | None = None) -> GatewayError:
    """503: only places that may not have this data are left. retry_after: what those said that may, in seconds."""
    message = (
        f"{_rule(ctx)}. {_CAUSES[cause]}, and its data is sent nowhere else. "
        "Try again later, or ask the operator of this gateway."
    )
    return errors.residency_unavailable(message, retry_after or (LATE if cause == "unserved" else SOON))


def _rule(ctx: "RequestContext") -> str:
    label, classes = ctx.label, ctx.snapshot.classes
    assert label is not None
    text = f"This request is of data class {label.data_class}, by {_source(ctx, classes)}: it may go to "
    parts = [_WHERE[label.data_class]]
    if label.tiers is not None:
        parts.append(f"of these to {_listed(label.tiers, 'tier')}")
    if label.regions is not None:
        parts.append(f"and only in {_listed(label.regions, 'region')}")
    owner = ", by its tenant's residency" if len(parts) > 1 else " only" if label.data_class != "P2" else ""
    return text + ", ".join(parts) + owner


def _source(ctx: "RequestContext", classes: "Classes") -> str:
    """Who said the class."""
    label, key, route = ctx.label, ctx.key, ctx.route
    assert label is not None
    tenant = key.tenant if key is not None else None
    words: tuple[tuple[str, DataClass | None], ...] = (
        ("its key", key.data_class if key is not None else None),
        ("its tenant's default", classes.of_tenant(tenant)),
        ("the rule of its model", route.data_class if route is not None else None),
    )
    if not label.assumed and label.data_class.encode() in ctx.exchange.values(DATA_CLASS):
        return "its own header x-fastpath-data-class"
    return next((source for source, word in words if word == label.data_class), "the default of this gateway")


def _listed(names: "frozenset[str]", what: str) -> str:
    return f"{what} " + ", ".join(sorted(names)) if names else f"no {what} at all"
