"""Closes a request exactly once: its record is written, its counters move. The record is the only source of both."""

from fastpath.context import RequestContext
from fastpath.runtime import Runtime


def settle(ctx: RequestContext, runtime: Runtime) -> None:
    """Writes the record and counts it; a second call is a no-op."""
    if ctx.settled:
        return
    ctx.settled = True
    if ctx.reserved:
        runtime.budget.release(ctx.reserved)
        ctx.reserved = 0
    record, metrics = ctx.record, runtime.metrics
    seconds = runtime.clock.monotonic() - ctx.arrived
    record.total_ms = round(seconds * 1e3, 3)
    path = ctx.path.template if ctx.path is not None else "unknown"
    # Only names from the configuration become labels: callers cannot grow a metric.
    model = ctx.route.name if ctx.route is not None else ""
    metrics.count("ai_inference_requests_total", (path, model, str(record.status)))
    if ctx.route is not None:
        runtime.in_flight[model] -= 1
        metrics.observe("ai_inference_latency_seconds", (model,), seconds)
        _count_tokens(ctx, runtime, model)
    runtime.records.put(record)


def _count_tokens(ctx: RequestContext, runtime: Runtime, model: str) -> None:
    record, metrics = ctx.record, runtime.metrics
    if record.ttft_ms is not None:
        metrics.observe("ai_inference_time_to_first_token_seconds", (model,), record.ttft_ms / 1e3)
    if record.overhead_us is not None:
        metrics.observe("ai_inference_gateway_overhead_seconds", (), record.overhead_us / 1e6)
    for kind, tokens in (
        ("input", record.input_tokens),
        ("output", record.output_tokens),
        ("cached", record.cached_tokens),
    ):
        if tokens:
            metrics.count("ai_inference_tokens_total", (model, kind), tokens)
    if record.estimated:
        metrics.count("fastpath_usage_estimated_total", (model,))
