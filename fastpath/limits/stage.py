"""The limit stage: a ticket for the request, or the refusal that its caller reads.

Owns what a request is estimated at, and the cheaper model that a budget may send it to. Tokens of a prompt are taken
as a quarter of its bytes, which settling corrects; money as the worst case that the price allows. Synchronous.
"""

from fastpath.context import RequestContext
from fastpath.limits.admission import Rejection
from fastpath.limits.desk import Desk, Standing
from fastpath.limits.refusal import describe, forbidden_degrade
from fastpath.money.ask import read_ask
from fastpath.money.price import nano_of
from fastpath.money.reserve import ANSWER_ASSUMED, TEMPLATE_MOST, Bounds, Clamp, reserve
from fastpath.runtime import Runtime

#: Of a caller that wants the model it asked for or none.
NO_SUBSTITUTE = b"x-fastpath-no-substitute"
_BOUNDS, _CLAMP = Bounds(), Clamp()


def limit(ctx: RequestContext, runtime: Runtime) -> None:
    """Sets ctx.ticket, and headers that say what is left. Raises 429 for the caller's own limits, 503 for shared."""
    desk = ctx.snapshot.desk
    if desk is None:
        return
    standing = _standing(ctx, desk)
    if standing.free:
        return
    now, wall = runtime.clock.monotonic(), ctx.record.ts
    given, taken = _tokens(ctx, standing.budgeted) if standing.tokens else (0, 0)
    money = _worst(ctx) if standing.money else 0
    ticket = desk.admit(standing, now, wall, given, taken, money)
    headers = standing.headers(ctx.dialect, now, wall)
    if isinstance(ticket, Rejection):
        runtime.metrics.count("fastpath_limit_refusals_total", (standing.plan.model, ticket.cause))
        raise describe(ticket, headers)
    ctx.ticket, ctx.reserved_nano = ticket, money
    ctx.reply_headers.extend(headers)


def _standing(ctx: RequestContext, desk: Desk) -> Standing:
    """How the caller stands with the model it asked for, or with the cheaper one that its budget sends it to."""
    route, key = ctx.route, ctx.key
    assert route is not None
    name = key.name if key is not None else None
    standing = desk.standing(name, route.name)
    cheaper = standing.substitute(ctx.record.ts)
    if cheaper is None:
        return standing
    found = ctx.snapshot.route(cheaper)
    if NO_SUBSTITUTE in ctx.exchange.fields or ctx.members is None or found is None:
        raise forbidden_degrade(cheaper)
    ctx.route, ctx.substitute = found, cheaper
    ctx.record.model = cheaper
    ctx.reply_headers.append((b"x-fastpath-substitute", cheaper.encode()))
    return desk.standing(name, cheaper)


def _tokens(ctx: RequestContext, bounded: bool) -> tuple[int, int]:
    """Tokens of the prompt and, at most, of the answer: about, or (for a budget) bounds that hold."""
    decision, record = ctx.decision, ctx.record
    most, answers = (decision.answer_most(), decision.answers()) if decision is not None else (0, 1)
    if bounded:
        return record.bytes_in + TEMPLATE_MOST, (most or ANSWER_ASSUMED) * answers
    return record.prompt_estimate(), most * answers


def _worst(ctx: RequestContext) -> int:
    """What the request may cost at most, in nano-units; 0 where no price is known."""
    route, path = ctx.route, ctx.path
    assert route is not None
    assert path is not None
    if route.price is None:
        return 0
    members = ctx.members
    if members is None:  # an upload is sound or pictures: what they cost is known when it is settled
        return nano_of(route.price.request)
    ask = read_ask(ctx.body, members.spans(), path.api, media=0 if members.plain else None, sound=False, ttl=False)
    return nano_of(reserve(ask, path.api, _BOUNDS, _CLAMP, route.price).pico)
