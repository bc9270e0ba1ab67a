"""What the gateway knows about one request while it runs, and the record that remains of it.

RequestContext is working state: stages read and write it, nobody keeps it. DecisionRecord holds the facts, and only
facts that may be logged: no prompt, no answer, no credential, no upstream URL. One loop, no locking.
"""

from typing import TYPE_CHECKING

import msgspec

from fastpath.door.exchange import Exchange
from fastpath.errors import Header

if TYPE_CHECKING:
    from backends.dialects.openai import Decision
    from fastpath.endpoints.paths import ApiPath
    from fastpath.identity.keys import Key
    from fastpath.snapshot import Route, Snapshot


class DecisionRecord(msgspec.Struct, kw_only=True, gc=False):
    """One line of the access log, and later of the outbox. Times: ts is Unix seconds, *_ms milliseconds."""

    id: str
    ts: float
    method: str
    path: str
    client: str
    label: str | None = None  # the caller's own x-request-id: a label, never a key
    key: str | None = None
    model: str | None = None
    endpoint: str | None = None
    tier: str | None = None
    stream: bool = False
    status: int = 0
    outcome: str = "open"  # complete | refused | error | broken | client_left
    error: str | None = None
    attempts: int = 0
    failures: list[str] | None = None  # one "endpoint cause moment" per failed attempt
    bytes_in: int = 0
    bytes_out: int = 0
    events: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    estimated: bool = False  # tokens are ours, not the model server's
    disputed: bool = False  # the model server's usage was impossible and was clamped
    overhead_us: int | None = None  # last request byte to first byte upstream
    ttft_ms: float | None = None
    total_ms: float = 0.0


class RequestContext:
    """Working state of one request. Times are monotonic seconds."""

    __slots__ = (
        "arrived",
        "body",
        "decision",
        "exchange",
        "key",
        "path",
        "read_at",
        "record",
        "reply_headers",
        "reserved",
        "route",
        "settled",
        "snapshot",
        "spans",
    )

    def __init__(self, exchange: Exchange, record: DecisionRecord, snapshot: "Snapshot", arrived: float) -> None:
        self.exchange = exchange
        self.record = record
        self.snapshot = snapshot  # the one it was admitted under, whatever is published later
        self.arrived = arrived
        self.read_at = arrived
        self.path: ApiPath | None = None
        self.key: Key | None = None
        self.route: Route | None = None
        self.body: bytes = b""
        self.reserved = 0  # bytes of the body in the worker's memory budget
        self.decision: Decision | None = None
        self.spans: dict[str, tuple[int, int]] | None = None
        self.settled = False
        self.reply_headers: list[Header] = [(b"x-request-id", record.id.encode())]

    @property
    def dialect(self) -> str:
        """In whose error shape the caller is answered."""
        return self.path.dialect if self.path is not None else "chat"
