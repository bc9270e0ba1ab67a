"""One request and its answer, as a door hands it to the pipeline.

A door subclasses Exchange: how bytes come and go is the door's business, what they mean is the pipeline's. All calls
are synchronous on the worker's loop; callbacks are plain functions.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from _native.relay import Sink, Source
from fastpath.errors import GatewayError, Header


class BodyReader(Protocol):
    """Takes a request body piece by piece (uploads)."""

    def on_piece(self, data: bytes, last: bool) -> None: ...
    def on_refused(self, error: GatewayError | None) -> None:
        """The body will not come: too large or too slow (an error to answer with), or the caller left (None)."""


class Exchange(Protocol):
    """What the pipeline sees of a caller. Doors implement it; the native door does so in compiled code.

    method, path (raw, undecoded, without query), query; fields: (lower-case) name to last value; repeated: some name
    occurs twice; peer: address of the socket's other end ("" for a Unix socket); on_left is called once if the caller
    disconnects before the answer is complete.
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

    def read(self, limit: int, seconds: float, done: Callable[[bytes], None], refused: Callable[..., None]) -> None:
        """Collects the whole body and calls done(body), or refused(error) when it exceeds `limit` bytes or stalls for
        `seconds`, or refused(None) when the caller left. A Content-Length above the limit is the pipeline's to see."""
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


def content_type(exchange: Exchange) -> bytes:
    """The media type of the request body, lower case, without parameters."""
    value = exchange.fields.get(b"content-type")
    return value.split(b";", 1)[0].strip().lower() if value is not None else b""
