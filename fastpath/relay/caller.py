"""What the caller asked for beside its answer, and what it is told beside it.

Owns both as far as a delivery needs them; does not own the fields that a model server sends (`fields`). Synchronous,
the worker's loop.
"""

from collections.abc import Sequence

from fastpath.context import RequestContext
from fastpath.errors import Header
from fastpath.explain.headline import NAME as DECISION
from fastpath.explain.recorder import headline_of
from fastpath.route.fallback import SUBSTITUTE


def lasting(ctx: RequestContext, headers: Sequence[Header]) -> list[Header]:
    """What an answer's head says that is still true when it is given again."""
    return [*headers, *[field for field in ctx.reply_headers if field[0] == SUBSTITUTE]]


def explain(ctx: RequestContext, headers: list[Header]) -> None:
    """Tells callers whose key has insight why their request runs where it runs."""
    if ctx.key is not None and ctx.key.insight and (line := headline_of(ctx)) is not None:
        headers.append((DECISION, line))


def stored(ctx: RequestContext) -> bool:
    """Whether the caller asked for the answer to be stored."""
    return ctx.gist is not None and ctx.gist.stores


def usage_wanted(ctx: RequestContext) -> bool:
    """Whether the caller itself asked for usage in its stream."""
    return ctx.gist is not None and ctx.gist.wants_usage
