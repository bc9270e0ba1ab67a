"""What the last minute says about models and endpoints: gauges made from counters when they are asked for.

Owns: a minute of sums, a sample every five seconds. Does not: probe or steer anything; it is told whose probes fail,
and choosing endpoints does not look here. Concurrency: the loop of the process that renders metrics.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

from _native.arena import HistogramSnapshot, Series
from fastpath.observe.families import FAMILIES
from scheduler.clock import Clock

WINDOW: Final = 60.0
SAMPLE_EVERY: Final = 5.0

REQUESTS: Final = "ai_inference_requests_total"
ERRORS: Final = "ai_inference_errors_total"
ANSWERS: Final = "ai_inference_answers_total"
FAILURES: Final = "ai_inference_upstream_errors_total"
_SUMMED_BY: Final = {REQUESTS: 1, ERRORS: 0, ANSWERS: 1, FAILURES: 0}  # the place of the model or endpoint in labels
_LIMITS: Final = {family.name: family.limit for family in FAMILIES}

Sums = Mapping[tuple[str, str], int]  # by family and model or endpoint


class Pool:
    """`models`: the labels of the endpoints of each model that the settings name."""

    def __init__(self, clock: Clock, models: Mapping[str, tuple[str, ...]]) -> None:
        self._clock = clock
        self._models = models
        self.failed: Callable[[], Collection[tuple[str, str]]] = frozenset  # by their probes
        self._sums: Sums = {}
        self._samples: deque[tuple[float, Sums]] = deque([(clock.monotonic(), {})])

    def configure(self, models: Mapping[str, tuple[str, ...]]) -> None:
        """Swaps the models, as settings are reloaded."""
        self._models = models

    @property
    def due(self) -> bool:
        """Whether a sample is wanted."""
        return self._clock.monotonic() >= self._samples[-1][0] + SAMPLE_EVERY

    def look(self, rows: Iterable[Series]) -> None:
        """Takes note of the counters as they are now."""
        now = self._clock.monotonic()
        self._sums = _sum(rows)
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()
        if now >= self._samples[-1][0] + SAMPLE_EVERY:
            self._samples.append((now, self._sums))

    def rows(self) -> Iterator[Series]:
        """The gauges, as of the last look."""
        for model in list(self._models)[: _LIMITS["ai_inference_error_rate"]]:
            yield Series("ai_inference_error_rate", (model,), "gauge", self._error_rate(model))
            yield Series("ai_inference_queue_length", (model,), "gauge", 0)
        pairs = [(model, endpoint) for model, endpoints in self._models.items() for endpoint in endpoints]
        # With more than can be shown, those that fail are.
        failed = self.failed()
        health = sorted((pair not in failed and self._answers(pair[1]), *pair) for pair in pairs)
        for answers, model, endpoint in health[: _LIMITS["ai_inference_endpoint_health"]]:
            yield Series("ai_inference_endpoint_health", (model, endpoint), "gauge", int(answers))

    def _error_rate(self, model: str) -> float:
        requests = self._recent(REQUESTS, model)
        return min(1.0, self._recent(ERRORS, model) / requests) if requests > 0 else 0.0

    def _answers(self, endpoint: str) -> bool:
        """Whether it is well, as far as is known: it answered something, or was asked nothing."""
        return self._recent(FAILURES, endpoint) <= 0 or self._recent(ANSWERS, endpoint) > 0

    def _recent(self, family: str, label: str) -> int:
        key = family, label
        return self._sums.get(key, 0) - self._samples[0][1].get(key, 0)


def _sum(rows: Iterable[Series]) -> Sums:
    sums: Counter[tuple[str, str]] = Counter()
    for family, labels, _, value in rows:
        place = _SUMMED_BY.get(family)
        if place is not None and place < len(labels) and not isinstance(value, HistogramSnapshot):
            sums[family, labels[place]] += int(value)
    return sums
