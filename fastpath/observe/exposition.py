"""The text that Prometheus reads: rows of the arena, by way of a prometheus_client custom collector.

Owns: how a row becomes samples, and the format that an Accept header asks for. Does not: read the arena or compute
what a row says. Pure; at most 50 ms for full tables (a test holds this).
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.samples import Sample

from _native.arena import HistogramSnapshot, Series
from fastpath.observe.families import FAMILIES, Family, Labels

# Family names and label names here are plain ASCII, so that no scheme has anything to escape. Told that it may leave
# UTF-8 alone, prometheus_client does not look at each letter of each name: 4.4 us per line of OpenMetrics, else 8.2.
_UNESCAPED: Final = openmetrics.ALLOWUTF8

Rows = dict[str, dict[Labels, int | float | HistogramSnapshot]]


def render(rows: Iterable[Series], accept: str = "", families: Iterable[Family] = FAMILIES) -> tuple[bytes, str]:
    """The exposition text and its content type: OpenMetrics when an Accept header asks for it, else Prometheus's own.

    Rows of families that are not declared are left out; two rows of one series are added up.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RowCollector(rows, families))
    if wants_openmetrics(accept):
        encode = partial(openmetrics.generate_latest, escaping=_UNESCAPED)
        return encode(registry), openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry, _UNESCAPED), CONTENT_TYPE_PLAIN_0_0_4


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header takes OpenMetrics 1.0."""
    # Not by prometheus_client's `choose_encoder`, which raises for a version that is no number.
    for media in accept.split(","):
        kind, *parameters = (part.strip() for part in media.split(";"))
        versions = [part[len("version=") :] for part in parameters if part.startswith("version=")]
        if kind == "application/openmetrics-text" and (not versions or versions[0] == "1.0.0"):
            return True
    return False


class RowCollector:
    """prometheus_client's custom-collector interface over rows."""

    def __init__(self, rows: Iterable[Series], families: Iterable[Family]) -> None:
        self._families = tuple(families)
        self._rows = _by_family(rows, {family.name: family for family in self._families})

    def collect(self) -> Iterator[Metric]:
        """Every declared family, with or without samples."""
        for family in self._families:
            metric = _metric(family)
            rows = self._rows[family.name]
            for labels in sorted(rows):
                metric.samples.extend(_samples(family, dict(zip(family.labels, labels, strict=True)), rows[labels]))
            yield metric


def _by_family(rows: Iterable[Series], families: Mapping[str, Family]) -> Rows:
    table: Rows = {name: {} for name in families}
    for row in rows:
        family = families.get(row.family)
        # A process of another version may count what this one does not know.
        if family is None or family.kind != row.kind or len(family.labels) != len(row.labels):
            continue
        known = table[row.family].get(row.labels, 0)
        if isinstance(row.value, HistogramSnapshot) or isinstance(known, HistogramSnapshot):
            table[row.family][row.labels] = row.value
        else:
            table[row.family][row.labels] = row.value + known
    return table


def _metric(family: Family) -> Metric:
    if family.kind != "counter":
        return Metric(family.name, family.help, family.kind)
    base = family.name.removesuffix("_total")
    # A counter of another name has no type in OpenMetrics, whose counters end in _total.
    return Metric(base, family.help, "counter" if base != family.name else "unknown")


def _samples(family: Family, labels: dict[str, str], value: int | float | HistogramSnapshot) -> Iterable[Sample]:
    if isinstance(value, HistogramSnapshot):
        return _histogram(family, labels, value)
    return (Sample(family.name, labels, value if family.unit == 1.0 else value * family.unit),)


def _histogram(family: Family, labels: dict[str, str], found: HistogramSnapshot) -> Iterator[Sample]:
    name = family.name + "_bucket"
    counts = found.cumulative([bound * 1e6 for bound in family.buckets])
    for bound, count in zip(family.buckets, counts, strict=True):
        yield Sample(name, {**labels, "le": str(bound)}, count)
    yield Sample(name, {**labels, "le": "+Inf"}, found.count)
    yield Sample(family.name + "_count", labels, found.count)
    yield Sample(family.name + "_sum", labels, found.sum_us / 1e6)
