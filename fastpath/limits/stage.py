"""The limit stage: a ticket for the request, or the refusal that its caller reads.

Owns what a request is estimated at, and the cheaper model that a budget may send it to. Tokens of a prompt are taken
as a quarter of its bytes, which settling corrects; money as the worst case that was set aside (`account.hold`), which
is reckoned here, when it is known who answers. Synchronous.
"""

from fastpath import errors
from fastpath.account.hold import hold
from fastpath.context import RequestContext
from fastpath.guard.stage import classify
from fastpath.limits.admission import Rejection
from fastpath.limits.desk import Desk, Standing, caller_of
from fastpath.limits.refusal import describe, forbidden_degrade
from fastpath.policy.stage import govern
from fastpath.runtime import Runtime

#: Of a caller that wants the model it asked for or none.
NO_SUBSTITUTE = b"x-fastpath-no-substitute"
#: On answers of a node that goes on without those it shares limits with.
DEGRADED = (b"x-fastpath-degraded", b"ratelimit")


def limit(ctx: RequestContext, runtime: Runtime) -> None:
    """Sets ctx.ticket, and headers that say what is left. Raises 429 for the caller's own limits, 503 for shared."""
    desk = ctx.snapshot.desk
    standing = None if desk is None else _standing(ctx, desk)
    if standing is not None:
        standing.plan.limiter.fetch()
    route, path = ctx.route, ctx.path
    assert route is not None
    assert path is not None
    if route.tariff is not None or (standing is not None and standing.tokens):
        hold(ctx)
    if desk is None or standing is None or standing.free:
        return
    if standing.capped and desk.unseeded:
        raise errors.overloaded("What was spent of your budget before is still being read. Try again in a moment.")
    now, wall, held = runtime.clock.monotonic(), ctx.record.ts, ctx.held
    given = taken = 0
    if standing.tokens:
        given, taken = _tokens(ctx, standing.budgeted)
    money = held.nano if standing.money and held is not None else 0
    ticket = desk.admit(standing, now, wall, given, taken, money)
    headers = standing.headers(path.dialect, now, wall)
    if standing.plan.parts is not None and standing.plan.parts.degraded:
        headers.append(DEGRADED)
    if isinstance(ticket, Rejection):
        runtime.metrics.count("fastpath_limit_refusals_total", (standing.plan.model, ticket.cause))
        raise describe(ticket, headers)
    ctx.ticket = ticket
    ctx.reply_headers.extend(headers)


def _standing(ctx: RequestContext, desk: Desk) -> Standing:
    """How the caller stands with the model it asked for, or with the cheaper one that its budget sends it to."""
    route = ctx.route
    assert route is not None
    caller = caller_of(ctx.key) if ctx.known is None else ctx.known.caller
    standing = desk.standing(caller, route.name)
    cheaper = standing.substitute(ctx.record.ts)
    if cheaper is None:
        return standing
    found = ctx.snapshot.route(cheaper)
    if NO_SUBSTITUTE in ctx.exchange.fields or ctx.members is None or found is None:
        raise forbidden_degrade(cheaper)
    ctx.route, ctx.substitute = found, cheaper
    ctx.record.model = cheaper
    classify(ctx, ctx.snapshot, found)
    if ctx.snapshot.rulebook is not None:
        govern(ctx, ctx.snapshot.rulebook, found, ctx.key)  # what may be sent to one model may not be sent to another
    ctx.reply_headers.append((b"x-fastpath-substitute", cheaper.encode()))
    return desk.standing(caller, cheaper)


def _tokens(ctx: RequestContext, bounded: bool) -> tuple[int, int]:
    """Tokens of the prompt and, at most, of the answer: about, or (for a budget) bounds that hold."""
    held = ctx.held
    assert held is not None
    if bounded:
        return held.prompt_most, held.answer_most
    most = ctx.answer_most * ctx.answers
    assert ctx.path is not None
    if ctx.edits is not None and not ctx.path.by_piece:  # a clamp set a limit, or lowered one
        most = min(most or held.answer_most, held.answer_most)
    return ctx.record.prompt_estimate(), most
