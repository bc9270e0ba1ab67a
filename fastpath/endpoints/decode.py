"""The decode stage: a request body's decision fields, checked; the rest untouched."""

from backends.dialects.gist import Gists
from backends.dialects.openai import BadRequest
from backends.dialects.openai import decode as read_decision
from fastpath import errors
from fastpath.context import RequestContext
from fastpath.endpoints.paths import ApiPath


def check_head(ctx: RequestContext, path: ApiPath) -> None:
    """Refuses by header what need not be read: a coded body, a body of another type. Raises 415."""
    fields = ctx.exchange.fields
    coding = fields.get(b"content-encoding")
    if coding is not None and coding.strip().lower() not in (b"", b"identity"):
        raise errors.unsupported_encoding(coding.decode("latin-1"))
    media = fields.get(b"content-type", b"")
    if media == b"application/json" and path.body == "json":
        return
    media = media.split(b";", 1)[0].strip().lower()
    if path.body == "json" and media not in (b"application/json", b""):
        raise errors.unsupported_type("application/json")
    if path.body == "multipart" and media != b"multipart/form-data":
        raise errors.unsupported_type("multipart/form-data")


def decode(ctx: RequestContext, body: bytes, gists: Gists) -> str:
    """Reads the decision fields into ctx and returns the model's name. Raises 400 with the offending param."""
    assert ctx.path is not None
    try:
        gist, ctx.members = read_decision(body, ctx.path.decode, gists)
    except BadRequest as error:
        raise errors.invalid_request(str(error), error.param or None) from error
    ctx.body = body
    ctx.gist = gist
    ctx.record.stream = gist.stream
    return gist.model
