"""Finds the route of the model that the caller named and may use; with it the label of the request is known."""

from fastpath import errors
from fastpath.context import RequestContext
from fastpath.guard.stage import classify
from fastpath.snapshot import may_use


def route(ctx: RequestContext, model: str) -> None:
    """Sets ctx.route. Raises 404 in one and the same form for models unknown and models out of the key's scope."""
    found = ctx.snapshot.route(model)
    known = ctx.known
    if found is None or not (may_use(ctx.key, model) if known is None else known.may_use(model)):
        raise errors.unknown_model(model)
    ctx.route = found
    ctx.asked = ctx.record.model = model
    classify(ctx, ctx.snapshot, found)
