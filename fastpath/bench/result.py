"""What a run found out, as the data that is written to `result.json`.

Owns the shape of that file: fields are added, never renamed or removed, while `version` stays the same. Times are in
seconds, rates per second. Pure functions.
"""

from typing import Literal

import msgspec

from fastpath.bench.figures import Summary, summarise
from fastpath.bench.load import Mode
from fastpath.bench.slo import Slo
from fastpath.bench.tally import Outcome, Tally

VERSION = 1
#: s: a generator whose p99 is later than this measures itself.
LAG_BOUND = 0.010


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. `rate` is the mean rate at which requests were due; None in a closed loop."""

    url: str
    model: str
    api: Literal["chat", "completions"]
    mode: Mode
    arrivals: Literal["poisson", "constant", "trace"] | None
    rate: float | None
    concurrency: int | None
    requests: int | None
    duration: float | None
    trace: str | None
    input_tokens: int | None
    output_tokens: int | None
    seed: int
    warmup: int


class Requests(msgspec.Struct, frozen=True):
    """Requests by what became of them: sent = completed + failed + unfinished."""

    sent: int
    completed: int
    failed: int
    unfinished: int
    peak_in_flight: int


class Error(msgspec.Struct, frozen=True):
    """One class of failure; `example` is what its first one said."""

    count: int
    example: str


class Throughput(msgspec.Struct, frozen=True):
    """Of the requests that completed, over the whole run. `estimated`: pieces were counted where usage was missing."""

    requests_per_s: float
    output_tokens_per_s: float
    input_tokens_per_s: float
    output_tokens: int
    input_tokens: int
    estimated: bool


class Latency(msgspec.Struct, frozen=True):
    """Of the requests that completed, s, from when each was sent; `from_due` counts from when it should have been."""

    ttft: Summary
    tpot: Summary
    inter_token: Summary
    e2e: Summary
    ttft_from_due: Summary
    e2e_from_due: Summary


class Goodput(msgspec.Struct, frozen=True):
    """Requests that met every limit, by their times from when they were due. `share`: of all that ended."""

    limits: Slo
    good: int
    share: float
    requests_per_s: float
    required_share: float | None
    met: bool | None


class Generator(msgspec.Struct, frozen=True):
    """How late the generator itself was, s: with its timers (open loop), and with its event loop."""

    schedule_lag: Summary
    loop_lag: Summary
    bound: float
    too_slow: bool


class Second(msgspec.Struct, frozen=True):
    """One second of the run: answers that ended well, failures, output tokens that arrived."""

    second: int
    completed: int
    failed: int
    output_tokens: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. `started_at`: UTC, ISO 8601; `elapsed`: from the first request to the last end."""

    version: int
    fastpath: str
    started_at: str
    interrupted: bool
    elapsed: float
    setup: Setup
    requests: Requests
    errors: dict[str, Error]
    throughput: Throughput
    latency: Latency
    goodput: Goodput | None
    generator: Generator
    timeline: list[Second]


class Goal(msgspec.Struct, frozen=True):
    """The SLO, and the share of requests that must meet it (None: it is only reported)."""

    slo: Slo
    share: float | None = None


def requests_of(tally: Tally) -> Requests:
    """The counts."""
    failed = tally.errors.total()
    unfinished = tally.sent - len(tally.outcomes)
    return Requests(tally.sent, tally.completed, failed, unfinished, tally.peak)


def errors_of(tally: Tally) -> dict[str, Error]:
    """The failures, most frequent first."""
    return {error: Error(count, tally.examples[error]) for error, count in tally.errors.most_common()}


def throughput_of(done: list[Outcome], elapsed: float) -> Throughput:
    """Rates of the requests that completed."""
    outputs, inputs = sum(one.output_tokens for one in done), sum(one.input_tokens for one in done)
    return Throughput(
        requests_per_s=_per_second(len(done), elapsed),
        output_tokens_per_s=_per_second(outputs, elapsed),
        input_tokens_per_s=_per_second(inputs, elapsed),
        output_tokens=outputs,
        input_tokens=inputs,
        estimated=any(not one.reported for one in done),
    )


def latency_of(done: list[Outcome], tally: Tally) -> Latency:
    """Times of the requests that completed."""
    ttft, e2e = [one.ttft or 0.0 for one in done], [one.e2e or 0.0 for one in done]
    waits = [one.wait for one in done]
    return Latency(
        ttft=summarise(ttft),
        tpot=summarise(one.tpot for one in done if one.tpot is not None),
        inter_token=tally.gaps.summary(),
        e2e=summarise(e2e),
        ttft_from_due=summarise(map(sum, zip(ttft, waits, strict=True))),
        e2e_from_due=summarise(map(sum, zip(e2e, waits, strict=True))),
    )


def goodput_of(goal: Goal, tally: Tally, elapsed: float) -> Goodput:
    """How many requests were good. A failed one is not; one that was dropped by Ctrl-C is neither."""
    good = sum(_is_good(goal.slo, one) for one in tally.outcomes)
    share = good / len(tally.outcomes) if tally.outcomes else 0.0
    met = None if goal.share is None else share >= goal.share
    return Goodput(goal.slo, good, share, _per_second(good, elapsed), goal.share, met)


def generator_of(tally: Tally) -> Generator:
    """Whether the generator kept up."""
    lags = summarise(tally.schedule_lag), summarise(tally.loop_lag)
    return Generator(*lags, LAG_BOUND, any((lag.p99 or 0.0) > LAG_BOUND for lag in lags))


def timeline_of(tally: Tally) -> list[Second]:
    """Every second of the run, empty ones too."""
    last = max([-1, *tally.ends, *tally.failures, *tally.tokens])
    ends, failures, tokens = tally.ends, tally.failures, tally.tokens
    return [Second(n, ends[n], failures[n], round(tokens.get(n, 0.0), 3)) for n in range(last + 1)]


def _is_good(slo: Slo, one: Outcome) -> bool:
    if one.error is not None or one.ttft is None or one.e2e is None:
        return False
    return slo.holds(one.ttft + one.wait, one.tpot, one.e2e + one.wait)


def _per_second(count: float, elapsed: float) -> float:
    return count / elapsed if elapsed > 0 else 0.0
