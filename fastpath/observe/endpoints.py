"""What endpoints say of their load, as gauges: read from the arena's samples when a page is wanted.

Owns which of a sample's numbers is which gauge. Does not poll (`backends.watch`). Concurrency: the loop of the process
that renders metrics.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from _native.arena import Sample
from backends.watch.plan import fact_id
from fastpath.observe.families import FAMILIES
from fastpath.observe.metrics import Labels, Metrics
from scheduler.clock import Clock

AGE: Final = "fastpath_endpoint_sample_age_seconds"
#: Gauges by the place of their number in a sample (`backends.watch.load`).
_PLACES: Final = {"fastpath_endpoint_kv_usage": 1, "fastpath_endpoint_running": 3, "fastpath_endpoint_waiting": 4}
_MOST: Final = next(family.limit for family in FAMILIES if family.name == AGE)


class LoadGauges:
    """Of the endpoints whose load is read."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._arena = metrics.arena
        self._clock = clock
        self._samples: dict[Labels, Sample] = {}
        for name, place in _PLACES.items():
            metrics.read(name, partial(self._values, place))
        metrics.read(AGE, self._ages)

    def configure(self, endpoints: Iterable[tuple[str, str]]) -> None:
        """Shows these, by model and endpoint, as far as a page has room for them."""
        self._samples = {name: self._arena.sample(fact_id(*name)) for name in list(endpoints)[:_MOST]}

    def _values(self, place: int) -> dict[Labels, float]:
        return {name: values[place] for name, _, values in self._read()}

    def _ages(self) -> dict[Labels, float]:
        now = self._clock.monotonic()
        return {name: max(0.0, now - stamp / 1e9) for name, stamp, _ in self._read()}

    def _read(self) -> Iterator[tuple[Labels, int, tuple[float, ...]]]:
        """Nothing of an endpoint that never said anything."""
        for name, sample in self._samples.items():
            found = sample.read()
            if found is not None and found[0]:
                yield name, *found
