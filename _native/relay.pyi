"""Relaying an answer: the Sink / Source seam, the event-stream filter, and the upstream connection.

Everything here runs on one event loop's thread; nothing awaits. Python code enters once per answer (head, first frame,
end), never per chunk.
"""

from typing import Any, Protocol, type_check_only

from _native.http1 import FieldNames

DIALECTS: dict[str, int]
"""Number of each dialect that StreamFilter knows."""

class Sink:
    """Takes an answer. `head` once, then `write` any number of times, then `finish` or `fail` exactly once."""

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> Sink:
        """The head arrived; returns the Sink that takes the body (itself, as a rule)."""

    def write(self, data: bytes) -> None:
        """Body bytes, never empty."""

    def finish(self) -> None:
        """The body is complete."""

    def fail(self, error: Any) -> None:
        """The answer broke; `error` says by whom and when."""

class Source:
    """Produces an answer."""

    def pause(self) -> None:
        """Stop producing until `resume` (backpressure); idempotent."""

    def resume(self) -> None: ...
    def cancel(self) -> None:
        """Nobody wants the rest: release what it costs now. Its Sink hears nothing more."""

class StreamFilter:
    """Lets whole, valid events of an event stream through and keeps what settlement needs.

    dialect: "chat" (also completions), "responses", "messages" or "other"; strip_usage: drop the usage-only frame that
    the caller did not ask for; limit: bytes one frame may have. Every event's data must be JSON (or [DONE]): other
    bytes are never forwarded. After `terminal`, `error` or `broken` is set nothing more comes out.
    """

    def __init__(self, dialect: str = "chat", strip_usage: bool = False, limit: int = 1 << 20) -> None: ...
    @property
    def dialect(self) -> int:
        """The dialect's number in DIALECTS."""

    @property
    def strip_usage(self) -> bool: ...
    @property
    def limit(self) -> int: ...
    @property
    def frames(self) -> int:
        """Content frames let through."""

    @property
    def terminal(self) -> bool:
        """The dialect's last event went out: the answer is complete."""

    @property
    def finished(self) -> bool:
        """A `finish_reason` was seen."""

    @property
    def usage(self) -> bytes | None:
        """JSON of the last event that carries usage."""

    @property
    def usage_head(self) -> bytes | None:
        """JSON of `message_start` (Anthropic), which carries the input side of usage."""

    @property
    def error(self) -> bytes | None:
        """JSON of an error event, which is not forwarded."""

    @property
    def broken(self) -> str | None:
        """Why the stream cannot go on: "truncated", "malformed" (an event is not JSON) or "oversized"."""

    @property
    def pending(self) -> int:
        """Bytes of the unfinished frame that is held."""

    def push(self, data: bytes) -> bytes:
        """Takes body bytes, returns the whole events to forward (the same object when all of it passes)."""

    def end(self) -> bytes:
        """The body ended cleanly. Accepts a last event without its blank line, and a finished chat answer without
        [DONE] (some servers never send it; it is added). Anything else unfinished sets `broken`."""

@type_check_only
class RelayOwner(Protocol):
    """What a Relay reports to."""

    def open(self) -> Sink:
        """The first event is there: open the caller's answer."""

    def ended(self, filter: StreamFilter, /) -> None:
        """No more will be forwarded; `filter` says how it ended. Called exactly once, unless `failed` is."""

    def failed(self, error: Any) -> None: ...

class Relay(Sink):
    """Body bytes of an upstream event stream -> filter -> the caller's Sink."""

    out: Sink | None
    def __init__(self, filter: StreamFilter, owner: RelayOwner) -> None: ...
    @property
    def filter(self) -> StreamFilter: ...
    @property
    def written(self) -> int:
        """Bytes given to `out`."""

@type_check_only
class Call(Protocol):
    """The exchange that a Connection carries."""

    def completed(self) -> None: ...
    def broken(self, connection: Connection, cause: str, detail: object) -> None: ...
    def pause_body(self) -> None: ...
    def resume_body(self) -> None: ...

@type_check_only
class ConnectionPool(Protocol):
    """Who owns a Connection between exchanges."""

    def release(self, connection: Connection, reusable: bool) -> None: ...
    def lost(self, connection: Connection) -> None: ...

class Connection(Source):
    """One connection to a model server (an asyncio protocol): at most one exchange at a time."""

    call: Call | None
    idle_since: float
    def __init__(self, pool: ConnectionPool, wanted: FieldNames | None = None) -> None:
        """wanted: the answer's fields that its Sink is told of, None for all."""

    @property
    def transport(self) -> Any: ...
    @property
    def pool(self) -> ConnectionPool: ...
    @property
    def exchanges(self) -> int: ...
    @property
    def received(self) -> int:
        """Bytes of the running exchange's answer, head included."""

    @property
    def head_done(self) -> bool:
        """The running exchange's answer has begun."""

    @property
    def closed(self) -> bool: ...
    @property
    def paused(self) -> bool: ...
    def begin(self, call: Call, sink: Sink, data: bytes, body: bytes | None, complete: bool) -> None:
        """Sends a request (`body` follows `data`, uncopied) and reads its answer into `sink`; `complete`: no more body
        follows."""

    def send(self, data: bytes, last: bool) -> None:
        """More of a streamed request body."""

    def connection_made(self, transport: Any) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
