"""Closes a request exactly once: its record is written, its counters move. The record is the only source of both."""

from fastpath.account.cost import bill
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
    if ctx.mark and runtime.marks is not None:
        runtime.marks.end(ctx)
    record = ctx.record
    now = runtime.clock.monotonic()
    record.total_ms = (now - ctx.arrived) * 1e3
    # Only names from the configuration become labels: callers cannot grow a metric.
    path = ctx.path.template if ctx.path is not None else None
    model = None
    if ctx.route is not None:
        model = ctx.route.name
        if ctx.running is not None:
            ctx.running.count -= 1
        record.overhead_us = overhead_us(ctx, now)
        if ctx.terms is not None:
            bill(ctx)
        elif record.outcome == "replayed" and ctx.route.tariff is not None:
            record.cost_nano = 0
    if ctx.ticket is not None:
        give_back(ctx, now)
    if ctx.claim is not None:
        ctx.claim.settle(record.attempts)
    if runtime.books is not None:
        runtime.books.end(ctx)
    if runtime.decisions is not None:
        runtime.decisions.take(ctx)
    runtime.series.settled(record, path, model)
    runtime.records.put(record)


def overhead_us(ctx: RequestContext, now: float) -> int:
    """Time of the request in the gateway itself so far: since its last byte, less what its attempts took."""
    return int((now - ctx.read_at - ctx.upstream) * 1e6)


def give_back(ctx: RequestContext, now: float) -> None:
    """Ends what the request held of its caller's limits: before its last byte, so that the next one may begin."""
    ticket, record = ctx.ticket, ctx.record
    assert ticket is not None
    if record.attempts == 0:
        ticket.void(now)
    else:
        ticket.settle(now, record.input_tokens or 0, record.output_tokens or 0, record.cost_nano or 0)
