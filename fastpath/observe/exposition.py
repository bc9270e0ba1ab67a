"""Sums the snapshots of all workers and renders them for Prometheus. Runs in the supervisor, on its loop alone.

Owns: what dead workers counted (a counter never falls because a process died) and the text format, by way of a
prometheus_client custom collector. Does not: ask workers for snapshots (process/).
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from fastpath.observe.metrics import FAMILIES, MAX_LABEL_SETS, Family, Labels, Snapshot, admit

Number = TypeVar("Number", int, float)


def empty() -> Snapshot:
    """A snapshot in which nothing happened."""
    return Snapshot({}, {}, {})


class Totals:
    """What workers that are gone have counted, to be added to what the living say.

    A gauge dies with its worker. Each family keeps at most ten times a worker's bound of label sets.
    """

    __slots__ = ("_gone",)

    def __init__(self) -> None:
        self._gone = empty()

    def retire(self, last: Snapshot) -> None:
        """Keeps the counters and histograms of a dead worker's last snapshot."""
        _add(self._gone, last, 10 * MAX_LABEL_SETS)
        self._gone.gauges.clear()

    def merge(self, living: Iterable[Snapshot]) -> Snapshot:
        """The dead and the living in one new snapshot."""
        total = empty()
        for snapshot in (self._gone, *living):
            _add(total, snapshot, 100 * MAX_LABEL_SETS)
        return total


def _add(total: Snapshot, more: Snapshot, limit: int) -> None:
    for name, rows in more.counters.items():
        _add_numbers(total.counters.setdefault(name, {}), rows, limit)
    for name, gauges in more.gauges.items():
        _add_numbers(total.gauges.setdefault(name, {}), gauges, limit)
    for name, histograms in more.histograms.items():
        _add_rows(total.histograms.setdefault(name, {}), histograms, limit)


def _add_numbers(total: dict[Labels, Number], rows: dict[Labels, Number], limit: int) -> None:
    for labels, value in rows.items():
        key = admit(total, labels, limit)
        total[key] = total[key] + value if key in total else value


def _add_rows(total: dict[Labels, list[float]], rows: dict[Labels, list[float]], limit: int) -> None:
    for labels, row in rows.items():
        key = admit(total, labels, limit)
        known = total.get(key)
        total[key] = [a + b for a, b in zip(known, row, strict=True)] if known else list(row)


def render(snapshot: Snapshot, accept: str = "", families: Iterable[Family] = FAMILIES) -> tuple[bytes, str]:
    """The exposition text and its content type, in the format that an Accept header asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshot, families))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector:
    """prometheus_client's custom-collector interface over one snapshot."""

    def __init__(self, snapshot: Snapshot, families: Iterable[Family]) -> None:
        self._snapshot = snapshot
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            if family.kind == "histogram":
                yield _histogram(family, self._snapshot.histograms.get(family.name, {}))
            elif family.kind == "counter":
                yield _counter(family, self._snapshot.counters.get(family.name, {}))
            else:
                yield _gauge(family, self._snapshot.gauges.get(family.name, {}))


def _counter(family: Family, rows: dict[Labels, int]) -> Metric:
    metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in rows.items():
        metric.add_metric(labels, value)
    return metric


def _gauge(family: Family, rows: dict[Labels, float]) -> Metric:
    metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in rows.items():
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, rows: dict[Labels, list[float]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, row in rows.items():
        metric.add_metric(labels, buckets=_cumulative(family, row), sum_value=row[-1])
    return metric


def _cumulative(family: Family, row: list[float]) -> list[tuple[str, float]]:
    bounds = [*(str(float(bound)) for bound in family.buckets), "+Inf"]
    counts = row[:-1]
    return [(bound, sum(counts[: index + 1])) for index, bound in enumerate(bounds)]
