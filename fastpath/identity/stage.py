"""The identify stage: a key, a token that stands for one, or neither where none are configured."""

from fastpath import errors
from fastpath.context import RequestContext
from fastpath.identity.scope import DATA_CLASS, classify, enforce


def identify(ctx: RequestContext) -> None:
    """Sets ctx.key from `Authorization: Bearer`. Raises 401; wrong, unknown, ended and malformed keys read the same.

    Raises 403 for what the key may not be used for, 400 for a data class that does not exist.
    """
    keys, tokens = ctx.snapshot.keys, ctx.snapshot.tokens
    if keys is None and tokens is None:
        if DATA_CLASS in ctx.exchange.fields:
            classify(ctx, None)
        return
    credential = _single_credential(ctx)
    key = None
    if tokens is not None and credential is not None and b"." in credential:  # keys of ours have none
        key = tokens.find(credential, ctx.record.id)
    if key is None and keys is not None:
        key = keys.find(credential)
    if key is None:
        message = "No API key was sent: set `Authorization: Bearer YOUR_KEY`." if credential is None else REFUSED
        raise errors.unauthenticated(message)
    ctx.key = key
    ctx.record.key = key.name
    terms = keys.terms(key) if keys is not None and keys.scoped else None
    if terms is not None:
        enforce(ctx, terms)
    if terms is not None or DATA_CLASS in ctx.exchange.fields:
        classify(ctx, terms)


REFUSED = "The API key is not valid here. Check it, or ask the operator of this gateway for one."


def _single_credential(ctx: RequestContext) -> bytes | None:
    """The one credential of the request. Anthropic clients send x-api-key, which counts as a bearer token."""
    exchange = ctx.exchange
    if b"x-api-key" not in exchange.fields and not exchange.repeated:
        return exchange.fields.get(b"authorization")  # the common case: no field is repeated
    sent = {*exchange.values(b"authorization"), *(b"Bearer " + key for key in exchange.values(b"x-api-key"))}
    if len(sent) > 1:
        raise errors.unauthenticated("Two different credentials were sent. Send one.")
    return sent.pop() if sent else None
