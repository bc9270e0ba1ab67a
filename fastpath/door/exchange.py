"""One request and its answer, as a door hands it to the pipeline.

A door subclasses Exchange: how bytes come and go is the door's business, what they mean is the pipeline's. All calls
are synchronous on the worker's loop; callbacks are plain functions.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from _native.relay import Sink, Source
from fastpath.errors import GatewayError, Header

#: The header fields that the gateway reads of a request. A door need not keep the others.
FIELDS_READ = (
    b"x-fastpath-no-substitute",
    b"accept",
    b"anthropic-beta",
    b"anthropic-version",
    b"authorization",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"expect",
    b"host",
    b"openai-beta",
    b"traceparent",
    b"tracestate",
    b"x-api-key",
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


class Exchange(Protocol):
    """What the pipeline sees of a caller. Doors implement it; the native door does so in compiled code.

    method, path (raw, undecoded, without query), query; fields: (lower-case) name to last value, of
    the names in FIELDS_READ at least; repeated: one of these occurs twice; peer: address of the socket's other end (""
    for a Unix socket); on_left is called once if the caller disconnects before the answer is complete.
    """

    on_left: Callable[[], None] | None

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def query(self) -> bytes: ...

    @property
    def fields(self) -> dict[bytes, bytes]: ...

    @property
    def repeated(self) -> bool: ...

    @property
    def peer(self) -> str: ...

    @property
    def declared_length(self) -> int:
        """Content-Length in bytes, 0 when there is none (doors refuse a malformed one)."""
        ...

    def values(self, name: bytes) -> list[bytes]:
        """All values of that (lower-case) name, in order."""
        ...

    def read(self, limit: int, seconds: float, taker: BodyTaker) -> None:
        """Collects the whole body; refuses it when it exceeds `limit` bytes or stalls for `seconds`. A Content-Length
        above the limit is the pipeline's to see."""
        ...

    def read_pieces(self, limit: int, seconds: float, reader: BodyReader) -> Source:
        """Hands the body over as it arrives. The Source pauses and resumes it."""
        ...

    def reply(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Sends a whole answer (Content-Length is added)."""
        ...

    def stream(self, status: int, headers: Sequence[Header], source: Source) -> Sink:
        """Opens a streamed answer. The Sink pauses and resumes `source` as the caller keeps up; its `fail` cuts the
        connection so that the caller sees a broken answer."""
        ...

    @property
    def buffered(self) -> int:
        """Answer bytes that wait for the caller."""
        ...

    @property
    def stalled_since(self) -> float | None:
        """Since when (monotonic s) the caller has taken nothing, None while it keeps up."""
        ...

    def abort(self) -> None:
        """Cuts the caller off."""
        ...
