"""What pickers are told of a request: how much there is to read, and whose it is.

Owns the two estimates; decides nothing. Synchronous; the worker's loop.
"""

from hashlib import blake2b

from fastpath.context import RequestContext
from fastpath.runtime import Runtime
from fastpath.snapshot import Route
from scheduler.ask import Ask

#: Of a caller that wants requests of one conversation kept together.
AFFINITY = b"x-fastpath-affinity"
#: A body of more tokens by its bytes is one with pictures or sound in it, and they weigh less than they are long.
MOST_TOKENS = 262_144
#: Bytes of a prompt that say whose it is: a system prompt and the beginning of the first message.
OPENING = 1_024
_OPENINGS = ("messages", "prompt", "input")


def tokens_to_read(ctx: RequestContext) -> int:
    """About how many tokens an endpoint has to read before it answers; 0 for an upload, which is no text."""
    if ctx.gist is None:
        return 0
    tokens = ctx.record.prompt_estimate()
    return tokens if tokens < MOST_TOKENS else MOST_TOKENS


def ask(ctx: RequestContext, route: Route, runtime: Runtime) -> Ask:
    """What the route's picker may look at."""
    key = affinity(ctx) if route.keyed else 0
    return Ask(tokens_to_read(ctx), runtime.clock.monotonic(), key, runtime.random)


def affinity(ctx: RequestContext) -> int:
    """64 bits that requests have in common which should meet the same endpoint.

    The first there is of: the header `x-fastpath-affinity`, the field `user` of the body, and the first 1,024 bytes of
    the prompt. Each with the caller's tenant, so that no caller chooses where another's requests go.
    """
    whose = ctx.exchange.fields.get(AFFINITY)
    members = ctx.members
    if members is not None:
        for name in ("user", *_OPENINGS):
            if whose:
                break
            whose = members.text(name)
    tenant = ctx.key.tenant if ctx.key is not None and ctx.key.tenant is not None else ""
    salted = blake2b(tenant.encode(), digest_size=8)
    salted.update(b"\0" + (whose or b"")[:OPENING])
    return int.from_bytes(salted.digest(), "big")
