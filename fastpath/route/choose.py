"""Which endpoint takes the next attempt of a request.

Owns the order of the questions: who is usable now, which kind of place is best, which of its replicas is next. Does not
own the answers (`scheduler`), nor who was allowed in the first place. Synchronous; the worker's loop.
"""

from fastpath.context import RequestContext
from fastpath.route.among import choose_among
from fastpath.route.asked import ask
from fastpath.runtime import Runtime
from fastpath.snapshot import Route, Target


def choose(ctx: RequestContext, route: Route, left: tuple[Target, ...], runtime: Runtime) -> Target | None:
    """One of `left`, which is not empty. None: all of them asked to be left alone for a while.

    Raises GatewayError (400, 403) when none of them can serve the request.
    """
    if runtime.health.troubled:
        left = runtime.health.usable(left, runtime.clock.monotonic())
        if not left:
            return None
    if route.lineup is not None:
        chosen: Target = choose_among(ctx, route, left, runtime)
        return chosen
    if len(left) == 1:
        return left[0]
    slots = [target.slot for target in left]
    return left[slots.index(route.picker(runtime.table, slots, ask(ctx, route, runtime)))]
