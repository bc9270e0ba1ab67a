"""Summaries of many times: percentiles of what was kept one by one, and of what is too many to keep.

Owns the arithmetic. Pure but for `Histogram`, which belongs to one run.
"""

import math
from collections.abc import Iterable, Sequence

import msgspec

PERCENTILES = (0.5, 0.9, 0.99, 0.999)


class Summary(msgspec.Struct, frozen=True):
    """Times in seconds. All None when nothing was measured."""

    count: int = 0
    mean: float | None = None
    min: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    p99_9: float | None = None
    max: float | None = None


def summarise(times: Iterable[float]) -> Summary:
    """Exact percentiles, interpolated between neighbours (the default of NumPy)."""
    ordered = sorted(times)
    if not ordered:
        return Summary()
    p50, p90, p99, p99_9 = (percentile(ordered, share) for share in PERCENTILES)
    mean = math.fsum(ordered) / len(ordered)
    return Summary(len(ordered), mean, ordered[0], p50, p90, p99, p99_9, ordered[-1])


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which that share of `ordered` (ascending, not empty) lies."""
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


class Histogram:
    """Counts times in bins 0.5 % wide: a long run has tens of millions of gaps between tokens.

    Count, mean, least and most are exact; percentiles are within 0.25 %.
    """

    _WIDTH = math.log(1.005)
    _FLOOR = 1e-7  # s: shorter times share the first bin

    def __init__(self) -> None:
        self._bins: dict[int, int] = {}
        self._count = 0
        self._sum = 0.0
        self._min = math.inf
        self._max = 0.0

    def add(self, time: float) -> None:
        """Counts one time, s."""
        index = int(math.log(time / self._FLOOR) / self._WIDTH) if time > self._FLOOR else -1
        self._bins[index] = self._bins.get(index, 0) + 1
        self._count += 1
        self._sum += time
        self._min = min(self._min, time)
        self._max = max(self._max, time)

    def summary(self) -> Summary:
        """What was counted so far."""
        if not self._count:
            return Summary()
        ordered = sorted(self._bins.items())
        p50, p90, p99, p99_9 = (self._at(ordered, share) for share in PERCENTILES)
        return Summary(self._count, self._sum / self._count, self._min, p50, p90, p99, p99_9, self._max)

    def _at(self, ordered: Sequence[tuple[int, int]], share: float) -> float:
        left = max(1, math.ceil(share * self._count))
        for index, count in ordered:
            left -= count
            if left <= 0:
                middle = 0.0 if index < 0 else self._FLOOR * math.exp((index + 0.5) * self._WIDTH)
                return min(max(middle, self._min), self._max)
        return self._max
