"""Paths that the gateway answers itself: the model list and the health of this worker."""

from urllib.parse import unquote

import msgspec

from fastpath import errors
from fastpath.context import RequestContext
from fastpath.snapshot import may_use


class ModelCard(msgspec.Struct):
    """One entry of the model list, as the OpenAI contract has it."""

    id: str
    created: int
    object: str = "model"
    owned_by: str = "fastpath"


class ModelList(msgspec.Struct):
    data: list[ModelCard]
    object: str = "list"


def list_models(ctx: RequestContext) -> bytes:
    """GET /v1/models: what this key may use."""
    snapshot = ctx.snapshot
    return msgspec.json.encode(ModelList([ModelCard(name, snapshot.created) for name in snapshot.visible(ctx.key)]))


def show_model(ctx: RequestContext) -> bytes:
    """GET /v1/models/{id}, ids may contain "/" and ":", percent-encoded or not. Raises 404."""
    name = unquote(ctx.exchange.path.removeprefix("/v1/models/"))
    if name not in ctx.snapshot.routes or not may_use(ctx.key, name):
        raise errors.unknown_model(name)
    return msgspec.json.encode(ModelCard(name, ctx.snapshot.created))


def health(ctx: RequestContext) -> bytes:
    """GET /healthz: this worker answers."""
    return b'{"status":"ok"}'


def readiness(ctx: RequestContext, degraded: bool) -> bytes:
    """GET /readyz: this worker has a configuration and takes requests; `degraded`: something else on its node does not
    work. What that is says the admin port: it is not the callers' business."""
    return msgspec.json.encode({"status": "degraded" if degraded else "ready", "snapshot": ctx.snapshot.version})


ANSWERS = {
    "/v1/models": list_models,
    "/v1/models/{id}": show_model,
    "/healthz": health,
}
