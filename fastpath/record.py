"""The record that remains of a request: facts, and only facts that may be logged.

No prompt, no answer, no credential, no upstream URL. Written while the request runs, never after it was settled.
"""

from typing import TYPE_CHECKING

from _native.jsonlines import JsonLines

if TYPE_CHECKING:
    from backends.dialects.usage import Usage
    from fastpath.route.trace import Trace
    from fastpath.settings import DataClass

#: Of a text nobody has counted: about what English and code come to.
BYTES_PER_TOKEN = 4


class DecisionRecord:
    """One line of the access log, and later of the outbox. Times: ts is Unix seconds, *_ms milliseconds."""

    def __init__(self, id: str, ts: float, method: str, path: str, client: str, label: str | None = None) -> None:
        self.prepare(id, ts, method, path, client, label)

    def prepare(self, id: str, ts: float, method: str, path: str, client: str, label: str | None) -> None:
        """What `__init__` does: called from C it needs no look at its arguments."""
        self.id = id
        self.ts = ts
        self.method = method
        self.path = path
        self.client = client
        self.label = label  # the caller's own x-request-id: a label, never a key
        self.key: str | None = None
        self.data_class: DataClass | None = None  # P0 (most sensitive) to P2; None: neither it nor its key says
        self.model: str | None = None
        self.endpoint: str | None = None
        self.tier: str | None = None
        self.stream = False
        self.status = 0
        self.outcome = "open"  # complete | refused | error | broken | client_left
        self.error: str | None = None
        self.policy: str | None = None  # the rule that decided
        self.attempts = 0
        self.failures: list[str] | None = None  # one "endpoint cause moment" per failed attempt
        self.choices: list[Trace] | None = None  # how its endpoints were chosen: `fastpath.route.trace.choices`
        self.bytes_in = 0
        self.bytes_out = 0
        self.events = 0
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.reasoning_tokens: int | None = None
        self.usage: Usage | None = None  # the same, and all else that is billed
        self.cost_nano: int | None = None  # the caller's bill, 1e-9 of `currency`; None: no price, or nothing was used
        self.currency: str | None = None
        self.provider_usd_nano: int | None = None  # what the provider asks, where that is in US dollars
        self.clamped: str | None = None  # what was lowered in the request before it was sent, and to what
        self.estimated = False  # tokens are ours, not the model server's
        self.disputed = False  # the model server's usage was impossible and was clamped
        self.overhead_us: int | None = None  # in the gateway: from the last request byte to the end, less upstream
        self.ttft_ms: float | None = None
        self.total_ms = 0.0
        self.prompt_hash: bytes | None = None  # keyed per tenant: `fastpath.explain.fingerprint`

    def prompt_estimate(self) -> int:
        """Tokens of the prompt while nothing better is known."""
        return self.bytes_in // BYTES_PER_TOKEN

    def write_line(self, line: JsonLines) -> None:
        """Adds the record as one line of the access log."""
        line.begin()
        line.text("id", self.id)
        line.real("ts", self.ts, 6)
        line.text("method", self.method)
        line.text("path", self.path)
        line.text("client", self.client)
        line.text("label", self.label)
        line.text("key", self.key)
        line.text("data_class", self.data_class)
        line.text("model", self.model)
        line.text("endpoint", self.endpoint)
        line.text("tier", self.tier)
        line.flag("stream", self.stream)
        line.whole("status", self.status)
        line.text("outcome", self.outcome)
        line.text("error", self.error)
        line.text("policy", self.policy)
        line.whole("attempts", self.attempts)
        line.texts("failures", self.failures)
        line.whole("bytes_in", self.bytes_in)
        line.whole("bytes_out", self.bytes_out)
        line.whole("events", self.events)
        line.integer("input_tokens", self.input_tokens)
        line.integer("output_tokens", self.output_tokens)
        line.integer("cached_tokens", self.cached_tokens)
        line.integer("reasoning_tokens", self.reasoning_tokens)
        line.integer("cost_nano", self.cost_nano)
        line.text("currency", self.currency)
        line.text("clamped", self.clamped)
        line.flag("estimated", self.estimated)
        line.flag("disputed", self.disputed)
        line.integer("overhead_us", self.overhead_us)
        line.real("ttft_ms", self.ttft_ms, 3)
        line.real("total_ms", self.total_ms, 3)
        line.end()
