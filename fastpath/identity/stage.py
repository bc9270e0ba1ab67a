"""The identify stage: a key, a token that stands for one, or neither where none are configured."""

from fastpath import errors
from fastpath.context import RequestContext
from fastpath.identity.scope import DATA_CLASS, Terms, classify, enforce
from fastpath.settings import Key


def identify(ctx: RequestContext) -> None:
    """Sets ctx.key from `Authorization: Bearer`. Raises 401; wrong, unknown, ended and malformed keys read the same.

    Raises 403 for what the key may not be used for, 400 for a data class that does not exist.
    """
    keys, tokens = ctx.snapshot.keys, ctx.snapshot.tokens
    if keys is None and tokens is None:
        if DATA_CLASS in ctx.exchange.fields:
            classify(ctx, None)
        return
    credential = single_credential(ctx)
    key: Key | None = None
    terms: Terms | None = None
    if tokens is not None and credential is not None and b"." in credential:  # keys of ours have none
        bearer = tokens.find(credential, ctx.record.id)
        if bearer is not None:
            key, terms = bearer, bearer.terms
    if key is None and keys is not None:
        key = keys.find(credential)
        if key is not None and keys.scoped:
            terms = keys.terms(key)
    if key is None:
        message = "No API key was sent: set `Authorization: Bearer YOUR_KEY`." if credential is None else REFUSED
        raise errors.unauthenticated(message)
    ctx.key = key
    ctx.record.key = key.name
    if terms is not None:
        enforce(ctx, terms)
    if terms is not None or DATA_CLASS in ctx.exchange.fields:
        classify(ctx, terms)


REFUSED = "The API key is not valid here. Check it, or ask the operator of this gateway for one."


def single_credential(ctx: RequestContext) -> bytes | None:
    """The one credential of the request. Anthropic clients send x-api-key, which counts as a bearer token."""
    fields = ctx.exchange.fields
    if ctx.exchange.repeated:
        sent = ctx.exchange.values(b"authorization")
        sent.extend([b"Bearer " + key for key in ctx.exchange.values(b"x-api-key")])
        if len(set(sent)) > 1:
            raise errors.unauthenticated("Two different credentials were sent. Send one.")
        return sent[0] if sent else None
    found = fields.get(b"authorization")  # the common case: no field is repeated
    if b"x-api-key" not in fields:
        return found
    key = b"Bearer " + fields[b"x-api-key"]
    if found is not None and found != key:
        raise errors.unauthenticated("Two different credentials were sent. Send one.")
    return key
