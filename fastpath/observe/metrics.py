"""What a process counts: series of the declared families in the arena, with handles for those who count often.

Owns: the handles of this process, the bound on label sets per family, the numbers that others keep and are asked for.
Does not: render (exposition.py), make or map the arena (process/). Concurrency: handles are safe anywhere; everything
else belongs to the owning event loop.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, TypeVar

import msgspec

from _native.arena import Arena, Counter, Histogram, HistogramSnapshot, Lane, Series, Sizes
from fastpath.observe.families import FAMILIES, OTHER, Family, Labels

__all__ = ["FAMILIES", "Family", "Labels", "Metrics", "Reader", "Snapshot", "private_arena"]

Reader = Callable[[], Mapping[Labels, float]]
Made = TypeVar("Made", Counter, Histogram, Lane)

SECRET_SIZE: Final = 16
# Of a gateway inside a program: one worker, and no more rows than its families can fill.
_PRIVATE: Final = Sizes(
    workers=1, series=2048, lanes=128, histograms=256, buckets=1024, limits=256, leases=1024, cells=2048, samples=512
)


def private_arena(sizes: Sizes = _PRIVATE) -> Arena:
    """An arena of this process alone, which it has joined."""
    arena = Arena.anonymous(secrets.token_bytes(SECRET_SIZE), sizes)
    arena.join()
    return arena


class Snapshot(msgspec.Struct, frozen=True):
    """Every number of an arena at one moment, by family and labels."""

    counters: dict[str, dict[Labels, int]]
    histograms: dict[str, dict[Labels, HistogramSnapshot]]
    gauges: dict[str, dict[Labels, float]]


class Metrics:
    """Counts in an arena, which other processes may share (None: one of its own).

    Keep handles where it matters: `counter(...)` once, then `.add(n)`. `count` and `observe` look theirs up each time.
    Beyond a family's limit of label sets a process counts under "other", so that made-up names cannot grow a page.
    Raises KeyError for a family that is not declared as that kind, ValueError for labels that do not fit it.
    """

    __slots__ = ("_counters", "_declared", "_histograms", "_lanes", "_readers", "_told", "arena")

    def __init__(self, arena: Arena | None = None, families: Iterable[Family] = FAMILIES) -> None:
        self.arena = arena if arena is not None else private_arena()
        self._declared = {family.name: family for family in families}
        self._counters: dict[str, dict[Labels, Counter]] = self._tables("counter")
        self._histograms: dict[str, dict[Labels, Histogram]] = self._tables("histogram")
        self._lanes: dict[str, dict[Labels, Lane]] = self._tables("gauge")
        self._readers: dict[str, Reader] = {}
        self._told: dict[str, dict[Labels, int]] = {}
        for family in self._declared.values():
            self._show_from_the_start(family)

    def counter(self, name: str, labels: Labels = ()) -> Counter:
        """The handle of a counter: `.add(n)`."""
        handles = self._counters[name]
        return handles.get(labels) or self._make(handles, self.arena.counter, name, labels)

    def histogram(self, name: str, labels: Labels = ()) -> Histogram:
        """The handle of a histogram: `.record(microseconds)`, a whole number."""
        handles = self._histograms[name]
        return handles.get(labels) or self._make(handles, self.arena.histogram, name, labels)

    def lane(self, name: str, labels: Labels = ()) -> Lane:
        """The handle of this worker's part of a gauge: `.add(1)`, `.add(-1)`. It dies with the worker."""
        handles = self._lanes[name]
        return handles.get(labels) or self._make(handles, self.arena.lane, name, labels)

    def count(self, name: str, labels: Labels, n: int = 1) -> None:
        """Adds `n` to one counter."""
        self.counter(name, labels).add(n)

    def observe(self, name: str, labels: Labels, seconds: float) -> None:
        """Puts one duration into one histogram."""
        self.histogram(name, labels).record(int(seconds * 1e6 + 0.5))

    def read(self, name: str, reader: Reader) -> None:
        """Asks `reader` for a gauge, or for a counter that someone else keeps, whenever numbers are wanted.

        Raises KeyError for an undeclared family, ValueError for a histogram.
        """
        if self._declared[name].kind == "histogram":
            raise ValueError(f"{name} is a histogram: observe it")
        self._readers[name] = reader

    def publish(self) -> None:
        """Brings what the readers say into the arena, for the process that renders it. A worker's tick calls this."""
        for name, reader in self._readers.items():
            if self._declared[name].kind == "counter":
                self._publish_counts(name, reader())
            else:
                self._publish_lanes(name, reader())

    def readings(self) -> Iterator[Series]:
        """What the readers of this process say now; with the arena's series they make the page."""
        for name, reader in self._readers.items():
            kind = self._declared[name].kind
            for labels, value in reader().items():
                yield Series(name, labels, kind, value)

    def snapshot(self) -> Snapshot:
        """Every number of the arena and of this process's readers."""
        snapshot = Snapshot({}, {}, {})
        tables: dict[str, dict[str, dict[Labels, Any]]]
        tables = {"counter": snapshot.counters, "histogram": snapshot.histograms, "gauge": snapshot.gauges}
        for row in chain(self.arena.series(), self.readings()):
            tables[row.kind].setdefault(row.family, {})[row.labels] = row.value
        return snapshot

    def _tables(self, kind: str) -> dict[str, dict[Labels, Any]]:
        return {family.name: {} for family in self._declared.values() if family.kind == kind}

    def _show_from_the_start(self, family: Family) -> None:
        # Without labels it is shown as 0 before its first event, so that a rate over that one exists.
        if family.labels:
            return
        if family.kind == "counter":
            self.counter(family.name)
        elif family.kind == "histogram":
            self.histogram(family.name)

    def _publish_counts(self, name: str, counts: Mapping[Labels, float]) -> None:
        told = self._told.setdefault(name, {})
        for labels, value in counts.items():
            new = int(value) - told.get(labels, 0)
            if new:
                self.counter(name, labels).add(new)
                told[labels] = int(value)

    def _publish_lanes(self, name: str, values: Mapping[Labels, float]) -> None:
        for labels, value in values.items():
            lane = self.lane(name, labels)
            change = int(value) - lane.value
            if change:
                lane.add(change)

    def _make(
        self, handles: dict[Labels, Made], make: Callable[[str, Labels], Made], name: str, labels: Labels
    ) -> Made:
        """A new handle, or that of "other" when the family has its fill."""
        family = self._declared[name]
        if len(labels) != len(family.labels) or not all(isinstance(label, str) for label in labels):
            raise ValueError(f"{name} takes the labels {family.labels}, as strings, not {labels!r}")
        if len(handles) >= family.limit:
            labels = (OTHER,) * len(labels)
        if labels not in handles:
            handles[labels] = make(name, labels)
        return handles[labels]
