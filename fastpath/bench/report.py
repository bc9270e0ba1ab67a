"""A result as a page of Markdown, aligned so that a terminal shows it well too.

Owns the words. Everything it says comes from the result. Pure functions.
"""

from collections.abc import Iterator, Sequence

from fastpath.bench.figures import Summary
from fastpath.bench.result import Result, Setup

#: Answers below which a percentile says little.
ENOUGH = {"p99": 100, "p99.9": 1000}


def render(result: Result) -> str:
    """The report."""
    parts = [_head(result), *_notes(result), _latency(result), _rates(result)]
    if result.errors:
        rows = [(name, f"{error.count:,}", _cell(error.example)) for name, error in result.errors.items()]
        parts += ["## Errors", _table(("error", "count", "the first one said"), rows)]
    return "\n\n".join(parts) + "\n"


def describe(setup: Setup) -> str:
    """The load in a sentence."""
    much = [f"{setup.requests:,} requests" if setup.requests else "", f"{setup.duration:g} s" if setup.duration else ""]
    amount = " or ".join(filter(None, much)) or "all requests of the trace"
    lengths = f"{_tokens(setup.input_tokens)} in, {_tokens(setup.output_tokens)} out"
    if setup.trace is not None:
        lengths = "lengths as recorded" if setup.input_tokens is setup.output_tokens is None else f"at most {lengths}"
    return f"{amount}, {_arrivals(setup)}; {lengths}, seed {setup.seed}"


def _arrivals(setup: Setup) -> str:
    if setup.mode == "closed":
        count = setup.concurrency or 1
        return f"closed loop of {count} client{'' if count == 1 else 's'}"
    kinds = {"poisson": "Poisson arrivals", "constant": "even arrivals", "trace": f"arrivals of {setup.trace}"}
    rate = f" at {setup.rate:.4g}/s" if setup.rate else ""
    cap = f", at most {setup.concurrency} in flight" if setup.concurrency else ""
    return f"open loop, {kinds[setup.arrivals or 'constant']}{rate}{cap}"


def _tokens(count: int | None) -> str:
    return "any tokens" if count is None else f"{count:,} tokens"


def _head(result: Result) -> str:
    setup = result.setup
    return (
        f"# {setup.model} at {setup.url}\n\n{describe(setup)}. Begun {result.started_at}, took {result.elapsed:.1f} s, "
        f"fastpath {result.fastpath}."
    )


def _notes(result: Result) -> Iterator[str]:
    """What a reader must know before believing the figures."""
    slow = result.generator
    if slow.too_slow:
        lag = max(slow.schedule_lag.p99 or 0.0, slow.loop_lag.p99 or 0.0)
        late = f"lag p99 {_ms(lag)} ms, bound {_ms(slow.bound)} ms"
        yield f"**The load generator was too slow** ({late}): these figures are its own as much as the endpoint's."
    if result.interrupted:
        yield f"Interrupted: {result.requests.unfinished:,} requests were dropped unfinished and are not counted."
    if result.throughput.estimated:
        yield "Output tokens are estimated: usage was not reported, so events with content are counted."
    done = result.requests.completed
    weak = [name for name, enough in ENOUGH.items() if done < enough]
    if weak:
        yield f"{done:,} answers are too few for {' and '.join(weak)}: one unlucky request decides."


def _latency(result: Result) -> str:
    times = result.latency
    rows = [
        _row("time to first token (TTFT)", times.ttft),
        _row("time per output token (TPOT)", times.tpot),
        _row("between tokens", times.inter_token),
        _row("whole answer", times.e2e),
    ]
    if result.setup.mode == "open":
        rows += [
            _row("TTFT from when it was due", times.ttft_from_due),
            _row("whole answer from when it was due", times.e2e_from_due),
        ]
    return _table(("ms", "mean", "p50", "p90", "p99", "p99.9", "max"), rows)


def _row(name: str, times: Summary) -> tuple[str, ...]:
    return (name, *map(_ms, (times.mean, times.p50, times.p90, times.p99, times.p99_9, times.max)))


def _rates(result: Result) -> str:
    counts, rates = result.requests, result.throughput
    rows = [
        ("requests completed", f"{counts.completed:,} of {counts.sent:,}"),
        ("requests failed", f"{counts.failed:,}"),
        ("most in flight", f"{counts.peak_in_flight:,}"),
        ("input tokens per request", _mean(rates.input_tokens, counts.completed)),
        ("output tokens per request", _mean(rates.output_tokens, counts.completed)),
        ("requests / s", f"{rates.requests_per_s:.3f}"),
        ("output tokens / s", f"{rates.output_tokens_per_s:,.1f}{' (estimated)' if rates.estimated else ''}"),
        ("input tokens / s", f"{rates.input_tokens_per_s:,.1f}"),
        *_goodput_rows(result),
        *_lag_rows(result),
    ]
    return _table(("", "value"), rows)


def _goodput_rows(result: Result) -> Iterator[tuple[str, str]]:
    good = result.goodput
    if good is None:
        return
    ended = result.requests.completed + result.requests.failed
    verdict = "met" if good.met else "missed"
    wanted = "" if good.required_share is None else f", {good.required_share:.2%} required: {verdict}"
    yield (
        f"goodput ({good.limits})",
        f"{good.good:,} of {ended:,} ({good.share:.2%}), {good.requests_per_s:.3f} / s{wanted}",
    )


def _lag_rows(result: Result) -> Iterator[tuple[str, str]]:
    lags = (("timers", result.generator.schedule_lag), ("event loop", result.generator.loop_lag))
    yield from ((f"generator lag p99, {name}", f"{_ms(lag.p99)} ms") for name, lag in lags if lag.count)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(3, *map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [_line(head, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _mean(total: int, count: int) -> str:
    return f"{total / count:,.1f}" if count else "-"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:,.2f}"
