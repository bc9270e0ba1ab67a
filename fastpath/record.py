"""The record that remains of a request: facts, and only facts that may be logged.

No prompt, no answer, no credential, no upstream URL. Written while the request runs, never after it was settled.
"""

import msgspec


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
    overhead_us: int | None = None  # in the gateway itself: from the last request byte to the end, less upstream
    ttft_ms: float | None = None
    total_ms: float = 0.0
