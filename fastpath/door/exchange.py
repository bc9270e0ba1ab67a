"""What a door and the pipeline agree on beside the Exchange itself: the fields read, and who takes a body.

A door subclasses Exchange: how bytes come and go is the door's business, what they mean is the pipeline's. The class is
compiled (`_native/door.pyi` says what each member is), so that stages reach its members without looking them up. All
calls are synchronous on the worker's loop; callbacks are plain functions.
"""

from typing import Protocol

from fastpath.errors import GatewayError

#: The header fields that the gateway reads of a request. A door need not keep the others.
FIELDS_READ = (
    b"accept",
    b"anthropic-beta",
    b"anthropic-version",
    b"authorization",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"expect",
    b"host",
    b"idempotency-key",
    b"openai-beta",
    b"traceparent",
    b"tracestate",
    b"x-api-key",
    b"x-fastpath-affinity",
    b"x-fastpath-data-class",
    b"x-fastpath-no-substitute",
    b"x-fastpath-scenario",
    b"x-forwarded-for",
    b"x-request-id",
)


class BodyTaker(Protocol):
    """Takes a request body whole."""

    def on_body(self, body: bytes) -> None: ...
    def on_refused(self, error: GatewayError | None) -> None:
        """The body will not come: too large or too slow (an error to answer with), or the caller left (None)."""


class BodyReader(Protocol):
    """Takes a request body piece by piece (uploads)."""

    def on_piece(self, data: bytes, last: bool) -> None: ...
    def on_refused(self, error: GatewayError | None) -> None:
        """The body will not come: too large or too slow (an error to answer with), or the caller left (None)."""
