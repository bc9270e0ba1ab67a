"""The guard stage: the label of a request, known before anything is decided by it, and raised when more is known.

Owns the one way in which a label reaches a request. Called when its model is known, again when a budget sends it to
another model or newer settings hold; a scan of its content joins by `raise_to`. Synchronous.
"""

from typing import TYPE_CHECKING

from fastpath.guard.label import Label

if TYPE_CHECKING:
    from fastpath.context import RequestContext
    from fastpath.snapshot import Route, Snapshot


def classify(ctx: "RequestContext", snapshot: "Snapshot", route: "Route") -> None:
    """Labels a request by the words of a snapshot and its model's route there, on top of what is known of it."""
    key, known = ctx.key, ctx.known
    before = ctx.label
    said = ctx.record.data_class if before is None or not before.assumed else None
    tenant = known.tenant if known is not None else (key.tenant if key is not None else None)
    label = snapshot.classes.label(said, tenant, route.data_class)
    if before is None:
        ctx.label = label
        ctx.record.data_class = label.data_class
    elif before is not label:
        raise_to(ctx, label)


def raise_to(ctx: "RequestContext", label: Label) -> None:
    """Joins a label to a request's own: what was said before stays true."""
    ctx.label = label if ctx.label is None else ctx.label.join(label)
    ctx.record.data_class = ctx.label.data_class
