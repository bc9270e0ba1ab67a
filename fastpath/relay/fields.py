"""Which header fields cross the gateway, in each direction. Allow-lists: what is not named here never passes."""

from collections.abc import Mapping

from _native.http1 import FieldNames, write_fields
from backends.dialects import orca
from fastpath.errors import Header

#: Caller -> model server. Credentials, cookies, hop-by-hop and identity fields are absent by design; so is the
#: caller's idempotency key, which under our one upstream key could return another tenant's answer.
TO_UPSTREAM = (
    b"accept",
    b"content-type",
    b"traceparent",
    b"tracestate",
    b"anthropic-version",
    b"anthropic-beta",
    b"openai-beta",
)

#: Model server -> caller.
TO_CALLER = frozenset(
    {
        b"content-type",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
        b"openai-processing-ms",
        b"openai-version",
        b"openai-model",
        b"content-disposition",
    }
)

#: What the gateway looks at in a model server's head. The rest of it is checked and forgotten.
WANTED = FieldNames([*TO_CALLER, b"content-encoding", b"content-length", orca.FIELD])

STREAM_FIELDS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


def outbound(fields: Mapping[bytes, bytes], request_id: bytes) -> bytes:
    """The caller's fields that the model server may see, and our request id, as they go on the wire."""
    return write_fields(b"x-request-id", request_id, fields, TO_UPSTREAM)


def inbound(headers: list[Header]) -> list[Header]:
    """The model server's fields that the caller may see."""
    return [field for field in headers if field[0] in TO_CALLER]


def value_of(headers: list[Header], name: bytes) -> bytes:
    """The first value of a (lower-case) field, b"" when absent."""
    for field, value in headers:
        if field == name:
            return value
    return b""
