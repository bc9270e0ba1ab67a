"""What a load is, and the requests it consists of, one by one.

Owns arrivals and lengths. Does no I/O, reads no clock: a load and its seed give the same requests every time.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import msgspec

Mode = Literal["open", "closed"]

#: Tokens when nothing is said: a short question and an answer of a paragraph.
DEFAULT_INPUT = 256
DEFAULT_OUTPUT = 128


class LoadError(ValueError):
    """The load makes no sense; the text says what to change."""


class Arrival(msgspec.Struct, frozen=True):
    """One request of a trace: s after the first one, tokens in and out, ids of the prompt blocks it shares."""

    at: float
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


class Job(msgspec.Struct, frozen=True):
    """One request to send. `due`: s after the start of the run; None: as soon as a client is free."""

    number: int
    due: float | None
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How much is sent, and when. Times in seconds, rates per second. Raises LoadError."""

    requests: int | None = None
    duration: float | None = None
    """No request is due later."""
    rate: float | None = None
    """Mean arrivals a second; a trace is stretched to it."""
    arrivals: Literal["poisson", "constant"] = "poisson"
    concurrency: int | None = None
    """Clients of a closed loop; in an open one, the most requests in flight."""
    input_tokens: int | None = None
    """Of every prompt; with a trace, the most that one may have."""
    output_tokens: int | None = None
    """The same for answers."""
    speed: float = 1.0
    """How much faster than it was recorded a trace is replayed."""
    seed: int = 0

    @property
    def clients(self) -> int:
        """Clients of a closed loop."""
        return self.concurrency or 1


def mode_of(load: Load, trace: Sequence[Arrival] | None) -> Mode:
    """Open: requests go out when they are due, however slow the answers are."""
    return "open" if trace is not None or load.rate is not None else "closed"


def make_jobs(load: Load, trace: Sequence[Arrival] | None) -> Iterator[Job]:
    """The requests of a load in order. Raises LoadError."""
    if trace is not None:
        return _replayed(load, trace[: load.requests])
    jobs = _poisson(load) if load.rate is not None and load.arrivals == "poisson" else _regular(load)
    return _until(load.duration, islice(jobs, load.requests))


def _regular(load: Load) -> Iterator[Job]:
    """Equal gaps; without a rate, no times at all."""
    number = 0
    while True:
        yield _synthetic(load, number, None if load.rate is None else number / load.rate)
        number += 1


def _poisson(load: Load) -> Iterator[Job]:
    """Exponential gaps. The first request is due at once: a run of n requests has n - 1 gaps."""
    assert load.rate is not None
    gaps, number, due = random.Random(load.seed), 0, 0.0
    while True:
        yield _synthetic(load, number, due)
        number, due = number + 1, due + gaps.expovariate(load.rate)


def _synthetic(load: Load, number: int, due: float | None) -> Job:
    return Job(number, due, load.input_tokens or DEFAULT_INPUT, load.output_tokens or DEFAULT_OUTPUT)


def _replayed(load: Load, trace: Sequence[Arrival]) -> Iterator[Job]:
    speed = load.speed if load.rate is None else load.rate / _rate_of(trace)
    jobs = (_recorded(load, number, arrival, arrival.at / speed) for number, arrival in enumerate(trace))
    return _until(load.duration, jobs)


def _rate_of(trace: Sequence[Arrival]) -> float:
    span = trace[-1].at - trace[0].at if trace else 0.0
    if span <= 0:
        raise LoadError("--rate cannot stretch this trace: all its requests arrive at once")
    return (len(trace) - 1) / span


def _recorded(load: Load, number: int, arrival: Arrival, due: float) -> Job:
    return Job(
        number,
        due,
        _capped(arrival.input_tokens, load.input_tokens),
        _capped(arrival.output_tokens, load.output_tokens),
        arrival.blocks,
    )


def _capped(tokens: int, most: int | None) -> int:
    return max(1, tokens if most is None else min(tokens, most))


def _until(duration: float | None, jobs: Iterator[Job]) -> Iterator[Job]:
    for job in jobs:
        if duration is not None and job.due is not None and job.due > duration:
            return
        yield job
