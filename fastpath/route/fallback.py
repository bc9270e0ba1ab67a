"""Another model for a request whose own has nobody left: who may take it, and what moves with it.

What a request is judged by is judged anew for the model that takes over, as if its caller had asked for it: the key's
scope, the class of its data, policies, limits, what is set aside. Whatever says no, it stays where it is. Owns the
move; does not own when (`fastpath.relay.delivery`) or the answers (their rooms). Synchronous; the worker's loop.
"""

from fastpath import errors
from fastpath.context import RequestContext
from fastpath.errors import GatewayError
from fastpath.guard.stage import classify
from fastpath.identity.recall import find_caller
from fastpath.limits.stage import NO_SUBSTITUTE, limit
from fastpath.policy.question import EVERY_TIER
from fastpath.policy.stage import govern
from fastpath.runtime import Runtime
from fastpath.settings import DataClass
from fastpath.snapshot import Route, Snapshot, may_use

#: Tells the caller which model answers, when it is not the one that it asked for.
SUBSTITUTE = b"x-fastpath-substitute"


def may_move(ctx: RequestContext) -> bool:
    """Whether another model may answer at all: the caller did not say no, and its body can be sent again."""
    return ctx.members is not None and NO_SUBSTITUTE not in ctx.exchange.fields


def move(ctx: RequestContext, name: str, runtime: Runtime) -> bool:
    """Makes the model `name` answer the request. False: it may not, and nothing changed but that, where the request
    held something of limits, that was taken anew. Raises what its own model's limits say where somebody else took that
    meanwhile: it holds nothing then, and no model may be asked before one of them admits it."""
    found = ctx.snapshot.routes.get(name)
    route = ctx.route
    assert route is not None
    if found is None or found is route or not may_use(ctx.key, name):
        return False
    before = _Place(ctx)
    try:
        _enter(ctx, found, name)
        if runtime.present is not None and runtime.present is not ctx.snapshot:
            _enter_now(ctx, runtime.present, name)
        if ctx.snapshot.desk is not None or found.tariff is not None:
            _hold_anew(ctx, runtime)
    except GatewayError:
        before.restore(ctx)
        if ctx.snapshot.desk is not None and ctx.ticket is None:
            _take_back(ctx, runtime)
        return False
    entered = ctx.route
    assert entered is not None
    assert ctx.running is not None
    ctx.running.count -= 1
    ctx.running = runtime.enter(entered.name)
    runtime.metrics.count("fastpath_model_fallbacks_total", (route.name, entered.name))
    ctx.reply_headers.append((SUBSTITUTE, entered.name.encode()))
    _keep_last(ctx)
    return True


class _Place:
    """What a move changes, to undo it."""

    def __init__(self, ctx: RequestContext) -> None:
        self._route, self._substitute, self._model = ctx.route, ctx.substitute, ctx.record.model
        self._tiers, self._policy, self._label = ctx.tiers, ctx.record.policy, ctx.label
        self._class: DataClass | None = ctx.record.data_class
        self._held, self._terms, self._edits, self._clamped = ctx.held, ctx.terms, ctx.edits, ctx.record.clamped
        self._headers = list(ctx.reply_headers)

    def restore(self, ctx: RequestContext) -> None:
        ctx.route, ctx.substitute, ctx.record.model = self._route, self._substitute, self._model
        ctx.tiers, ctx.record.policy, ctx.label = self._tiers, self._policy, self._label
        ctx.record.data_class = self._class
        ctx.wanted = None
        ctx.held, ctx.terms, ctx.edits, ctx.record.clamped = self._held, self._terms, self._edits, self._clamped
        ctx.reply_headers[:] = self._headers


def _enter(ctx: RequestContext, route: Route, name: str) -> None:
    ctx.route, ctx.substitute, ctx.record.model = route, name, name
    ctx.held = ctx.terms = ctx.edits = ctx.wanted = ctx.record.clamped = None
    ctx.reply_headers[:] = [field for field in ctx.reply_headers if field[0] != b"x-fastpath-clamped"]
    ctx.tiers = EVERY_TIER
    classify(ctx, ctx.snapshot, route)
    if ctx.snapshot.rulebook is not None:
        govern(ctx, ctx.snapshot.rulebook, route, ctx.key)


def _enter_now(ctx: RequestContext, present: Snapshot, name: str) -> None:
    """Holds it to what a newer snapshot says of the model, where that is stricter. Raises GatewayError."""
    key, route = find_caller(ctx, present) or ctx.key, present.routes.get(name)
    if route is None or not may_use(key, name):
        raise errors.unknown_model(name)
    classify(ctx, present, route)
    if present.rulebook is not None:
        before = ctx.tiers
        govern(ctx, present.rulebook, route, key)
        ctx.tiers &= before
        if not ctx.tiers:
            raise errors.policy_blocked()


def _hold_anew(ctx: RequestContext, runtime: Runtime) -> None:
    """Gives back what was taken for the model before, as nothing of it was delivered, and takes what this one costs.
    One after the other: a caller that may run one request at a time could not hold both."""
    if ctx.ticket is not None:
        ctx.ticket.void(runtime.clock.monotonic())
        ctx.ticket = None
    limit(ctx, runtime)


def _take_back(ctx: RequestContext, runtime: Runtime) -> None:
    """Takes anew what the request held before for the model that it is at. Raises where that is not there any more."""
    headers, held = list(ctx.reply_headers), ctx.held
    try:
        limit(ctx, runtime)
    finally:
        ctx.held = ctx.held or held
        ctx.reply_headers[:] = headers


def _keep_last(ctx: RequestContext) -> None:
    """What two models said under one name is what the last one said."""
    ctx.reply_headers[:] = list(dict(ctx.reply_headers).items())
