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
    record = ctx.record
    now = runtime.clock.monotonic()
    record.total_ms = (now - ctx.arrived) * 1e3
    # Only names from the configuration become labels: callers cannot grow a metric.
    path = ctx.path.template if ctx.path is not None else None
    model = None
    if ctx.route is not None:
        model = ctx.route.name
        runtime.in_flight[model] -= 1
        record.overhead_us = overhead_us(ctx, now)
    runtime.series.settled(record, path, model)
    runtime.records.put(record)


def overhead_us(ctx: RequestContext, now: float) -> int:
    """Time of the request in the gateway itself so far: since its last byte, less what its attempts took."""
    return int((now - ctx.read_at - ctx.upstream) * 1e6)
