"""What a finished request adds to the metrics, from its record alone.

Owns: which series a record moves, and their handles, kept per kind of request so that a usual request looks up one
dictionary. Does not: decide when a request is over (account/). Concurrency: the owning event loop alone.
"""

from typing import TYPE_CHECKING, Final

from fastpath.observe.families import UNKNOWN

if TYPE_CHECKING:
    from fastpath.observe.metrics import Metrics
    from fastpath.record import DecisionRecord

MAX_KINDS: Final = 4_096

Kind = tuple[str, str, str | None, int]  # path, model, endpoint, status


class _Handles:
    """The series that one kind of request moves."""

    def __init__(self, metrics: "Metrics", kind: Kind) -> None:
        path, model, endpoint, status = kind
        self.requests = metrics.counter("ai_inference_requests_total", (path, model, str(status)))
        self.latency = metrics.histogram("ai_inference_latency_seconds", (model,))
        self.first_token = metrics.histogram("ai_inference_time_to_first_token_seconds", (model,))
        self.per_token = metrics.histogram("ai_inference_time_per_output_token_seconds", (model,))
        self.overhead = metrics.histogram("ai_inference_gateway_overhead_seconds", ())
        self.input = metrics.counter("ai_inference_tokens_total", (model, "input"))
        self.output = metrics.counter("ai_inference_tokens_total", (model, "output"))
        self.cached = metrics.counter("ai_inference_tokens_total", (model, "cached"))
        self.cost = metrics.counter("ai_inference_cost_usd_total", (model,))
        self.answers = metrics.counter("ai_inference_answers_total", (model, endpoint)) if endpoint else None


class RequestSeries:
    """Counts finished requests: 0.6 us for a streamed one whose kind is known, 0.3 us for another (measured)."""

    def __init__(self, metrics: "Metrics") -> None:
        self._metrics = metrics
        self._kinds: dict[Kind, _Handles] = {}

    @property
    def remembered(self) -> int:
        """Kinds of request whose handles are kept."""
        return len(self._kinds)

    def settled(self, record: "DecisionRecord", path: str | None, model: str | None) -> None:
        """Counts one finished request, whose record is final.

        `path` is the template of its API path and `model` the name of its route, None when there was none. What the
        caller wrote is in the record and never becomes a label.
        """
        if model is None:
            self._count_unrouted(record, path or UNKNOWN)
            return
        kind = (path or UNKNOWN, model, record.endpoint, record.status)
        handles = self._kinds.get(kind) or self._meet(kind)
        handles.requests.add(1)
        handles.latency.record(int(record.total_ms * 1e3))
        if record.overhead_us is not None:
            handles.overhead.record(record.overhead_us)
        if record.input_tokens:
            handles.input.add(record.input_tokens)
        if record.output_tokens:
            handles.output.add(record.output_tokens)
        if record.cached_tokens:
            handles.cached.add(record.cached_tokens)
        if record.provider_usd_nano:
            handles.cost.add(record.provider_usd_nano)
        if record.ttft_ms is not None:
            _time_tokens(handles, record, record.ttft_ms)
        if record.outcome == "complete" and record.failures is None and not (record.estimated or record.disputed):
            if handles.answers is not None:
                handles.answers.add(1)
        else:
            self._count_rare(record, model, handles)

    def shed(self, count: int) -> None:
        """Counts requests that were turned away unread."""
        self._metrics.count("ai_inference_requests_total", (UNKNOWN, UNKNOWN, "503"), count)
        self._metrics.count("ai_inference_errors_total", (UNKNOWN, "overloaded"), count)

    def _count_unrouted(self, record: "DecisionRecord", path: str) -> None:
        self._metrics.count("ai_inference_requests_total", (path, UNKNOWN, str(record.status)))
        if record.status >= 500:
            self._metrics.count("ai_inference_errors_total", (UNKNOWN, record.error or str(record.status)))

    def _meet(self, kind: Kind) -> _Handles:
        if len(self._kinds) >= MAX_KINDS:  # only endless reloads with new names come here
            self._kinds.clear()
        handles = self._kinds[kind] = _Handles(self._metrics, kind)
        return handles

    def _count_rare(self, record: "DecisionRecord", model: str, handles: _Handles) -> None:
        count = self._metrics.count
        # A refusal with an endpoint is one that the endpoint spoke: it answers.
        if record.outcome in ("complete", "refused") and record.status < 500 and handles.answers is not None:
            handles.answers.add(1)
        if record.status >= 500 or record.outcome in ("error", "broken"):
            count("ai_inference_errors_total", (model, record.error or str(record.status)))
        if record.failures and record.failures[0].partition(" ")[0] != record.endpoint:
            count("ai_inference_fallback_count", (model,))
        if record.estimated:
            count("fastpath_usage_estimated_total", (model,))
        if record.disputed:
            count("fastpath_usage_disputed_total", (model,))


def _time_tokens(handles: _Handles, record: "DecisionRecord", ttft_ms: float) -> None:
    handles.first_token.record(int(ttft_ms * 1e3))
    # The last token comes with the end of the answer; a broken one has no such moment.
    if record.output_tokens is not None and record.output_tokens > 1 and record.outcome == "complete":
        spent = record.total_ms - ttft_ms
        handles.per_token.record(max(0, int(spent * 1e3 / (record.output_tokens - 1))))
