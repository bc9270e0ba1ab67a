"""What a model's endpoints together can serve, from what they did: the source of limits that are a share of it.

Owns the estimate and where it lies in the arena. Does not probe: it reads the counters that requests leave anyhow. One
process of a node looks once a second (`CapacityWatch`); workers read what it found (`ArenaCapacity`).

The capacity is the greatest throughput that was seen, times how fast the endpoints are now against the fastest that
they were; but at least what they serve now. Throughput alone would not do: callers who ask little, because they are
limited, say nothing about what could be served, and a limit that follows them down never comes up again. Speed is
output tokens per second of a running request (requests, where no tokens are counted): it halves when the servers do
half as much, whoever asks how often. Endpoints that only fail count as gone. When less than one request runs on
average, throughput is taken for the time that one did (Little's law).
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

from _native.arena import Arena, HistogramSnapshot, Sample, Series, digest
from fastpath.limits.book import owners_of
from fastpath.limits.plan import DEFAULT_OUTPUT_WEIGHT
from fastpath.settings import Limit, Settings
from fastpath.settings.tenancy import Counted
from scheduler.clock import Clock

EVERY: Final = 1.0
SMOOTH: Final = 1.2
"""Seconds of the mean. Four of them pass in the five seconds in which a limit must follow."""
ENOUGH: Final = 5.0
"""Requests within about SMOOTH that make a measurement."""
SILENT: Final = 3.0
"""Seconds in which an endpoint that failed must have answered something, or counts as gone."""
Name = TypeVar("Name")
_COUNTED: Final[tuple[Counted, ...]] = ("requests", "input_tokens", "output_tokens", "tokens", "weighted_tokens")


class Counts(NamedTuple):
    """Since the begin: requests answered, tokens, and the seconds that requests took, added up."""

    requests: float = 0.0
    input: float = 0.0
    output: float = 0.0
    seconds: float = 0.0


class CapacityMeter:
    """Of one model."""

    def __init__(self) -> None:
        self._last: Counts | None = None
        self._at = 0.0
        self._sums = Counts()
        self._time = 0.0
        self._peak = Counts()  # per second
        self._fastest = 0.0
        self._alive = 1

    def observe(self, now: float, counts: Counts, alive: int) -> Counts | None:
        """What could be served per second now; None while nothing was measured. alive: endpoints that answer."""
        last, elapsed = self._last, now - self._at
        self._last, self._at = counts, now
        if last is None or elapsed <= 0:
            return None
        keep = math.exp(-elapsed / SMOOTH)
        self._sums = Counts(
            *(kept * keep + (new - old) for kept, new, old in zip(self._sums, counts, last, strict=True))
        )
        self._time = self._time * keep + elapsed
        if self._sums.requests >= ENOUGH and self._sums.seconds > 0:
            self._weigh(alive)
        if not self._peak.requests:
            return None
        return self._now(alive)

    def _weigh(self, alive: int) -> None:
        """Takes what is served now for the greatest, where it is."""
        rates = self._rates()
        self._fastest = max(self._fastest, rates.seconds)
        if _size(rates) > _size(self._peak):
            self._peak, self._alive = rates, max(1, alive)

    def _rates(self) -> Counts:
        """Per second; `seconds` is the speed."""
        busy = self._time * min(1.0, self._sums.seconds / self._time)
        sums = self._sums
        return Counts(sums.requests / busy, sums.input / busy, sums.output / busy, _speed(sums))

    def _now(self, alive: int) -> Counts:
        part = min(1.0, alive / self._alive)
        if self._sums.requests >= 1 and self._sums.seconds > 0:
            rates = self._rates()
            part = min(1.0, max(part * rates.seconds / self._fastest, _size(rates) / _size(self._peak)))
        return Counts(*(part * most for most in self._peak[:3]))


def _size(rates: Counts) -> float:
    return rates.output or rates.requests


def _speed(sums: Counts) -> float:
    return (sums.output or sums.requests) / sums.seconds


class CapacityWatch:
    """Measures those models of a node that a limit is a share of."""

    def __init__(self, arena: Arena, clock: Clock, settings: Settings) -> None:
        self._arena = arena
        self._clock = clock
        self._meters: dict[str, tuple[CapacityMeter, Sample]] = {}
        self._endpoints: dict[str, tuple[str, ...]] = {}
        self._answered: dict[tuple[str, str], tuple[float, float]] = {}
        self._failed: dict[str, tuple[float, float]] = {}
        self._due = 0.0
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Takes other settings."""
        wanted = {model.name: tuple(one.label for one in model.endpoints) for model in settings.models}
        if not has_shares(settings):
            wanted = {}
        self._endpoints = wanted
        self._meters = {
            name: self._meters.get(name) or (CapacityMeter(), self._arena.sample(_id(name))) for name in wanted
        }

    def look(self) -> None:
        """Measures, when it is time to."""
        now = self._clock.monotonic()
        if not self._meters or now < self._due:
            return
        self._due = now + EVERY
        self._measure(now, self._arena.series())

    def _measure(self, now: float, rows: Iterable[Series]) -> None:
        counts, answers, failures = _read(rows)
        self._answered = _changes(self._answered, answers, now)
        self._failed = _changes(self._failed, failures, now)
        for model, (meter, sample) in self._meters.items():
            alive = sum(self._is_alive(model, endpoint, now) for endpoint in self._endpoints[model])
            found = meter.observe(now, counts.get(model, Counts()), alive)
            if found is not None:
                total = found.input + found.output
                weighted = found.input + DEFAULT_OUTPUT_WEIGHT * found.output
                sample.write(int(now * 1e9), (found.requests, found.input, found.output, total, weighted))

    def _is_alive(self, model: str, endpoint: str, now: float) -> bool:
        failed = self._failed.get(endpoint, (0.0, -math.inf))[1]
        answered = self._answered.get((model, endpoint), (0.0, -math.inf))[1]
        return now - failed > SILENT or now - answered <= SILENT


class ArenaCapacity:
    """What was measured, as a worker reads it. A `fastpath.limits.plan.Capacity`."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._samples: dict[str, Sample] = {}

    def per_second(self, model: str, counted: Counted) -> float | None:
        """Requests or tokens per second; None while nothing was measured."""
        sample = self._samples.get(model)
        if sample is None:
            sample = self._samples[model] = self._arena.sample(_id(model))
        found = sample.read()
        if found is None or counted not in _COUNTED or found[1][0] <= 0:
            return None
        return found[1][_COUNTED.index(counted)]


def has_shares(settings: Settings) -> bool:
    """Whether any limit is a share of a capacity."""
    limits: list[Limit] = [limit for model in settings.models for limit in model.limits]
    for one in owners_of(settings):
        limits += [*one.limits, *(limit for group in one.model_limits for limit in group.limits)]
    return any(limit.share is not None for limit in limits)


def _id(model: str) -> bytes:
    return digest("capacity", model)


def _read(rows: Iterable[Series]) -> tuple[dict[str, Counts], dict[tuple[str, str], float], dict[str, float]]:
    """Counts by model, answers by model and endpoint, failures by endpoint."""
    sums: dict[str, dict[str, float]] = {}
    answers: dict[tuple[str, str], float] = {}
    failures: dict[str, float] = {}
    for family, labels, _, value in rows:
        if family == "ai_inference_latency_seconds" and isinstance(value, HistogramSnapshot):
            sums.setdefault(labels[0], {})["seconds"] = value.sum_us / 1e6
        elif isinstance(value, HistogramSnapshot):
            continue
        elif family == "ai_inference_answers_total":
            answers[labels[0], labels[1]] = value
            model = sums.setdefault(labels[0], {})
            model["requests"] = model.get("requests", 0.0) + value
        elif family == "ai_inference_tokens_total" and labels[1] in ("input", "output"):
            sums.setdefault(labels[0], {})[labels[1]] = value
        elif family == "ai_inference_upstream_errors_total":
            failures[labels[0]] = failures.get(labels[0], 0.0) + value
    return {model: Counts(**found) for model, found in sums.items()}, answers, failures


def _changes(
    before: Mapping[Name, tuple[float, float]], values: Mapping[Name, float], now: float
) -> dict[Name, tuple[float, float]]:
    """Each count and when it last grew; those that are there from the begin never did."""
    return {
        name: (value, now if value > before[name][0] else before[name][1]) if name in before else (value, -math.inf)
        for name, value in values.items()
    }
