"""The worker's own counters and histograms, and the one table that declares every metric family.

Owns: the families, the numbers of this process, the bound on label sets. Does not: sum processes or render text
(exposition.py). Concurrency: the owning event loop alone writes; nothing here locks or allocates per request.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, TypeVar

import msgspec

Labels = tuple[str, ...]
Reader = Callable[[], Mapping[Labels, float]]
Row = TypeVar("Row")

MAX_LABEL_SETS: Final = 1_000
OTHER: Final = "other"

_LATENCY: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_OVERHEAD: Final = (0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1)
_LAG: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Family(msgspec.Struct, frozen=True):
    """One metric family. `buckets` are upper bounds in seconds and belong to histograms only."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


FAMILIES: Final[tuple[Family, ...]] = (
    Family("ai_inference_requests_total", "counter", "Requests answered.", ("path", "model", "status")),
    Family("ai_inference_tokens_total", "counter", "Tokens, by kind input, output or cached.", ("model", "kind")),
    Family("ai_inference_latency_seconds", "histogram", "From request to last byte written.", ("model",), _LATENCY),
    Family(
        "ai_inference_time_to_first_token_seconds",
        "histogram",
        "From request to the first content of a streamed answer.",
        ("model",),
        _LATENCY,
    ),
    Family(
        "ai_inference_gateway_overhead_seconds",
        "histogram",
        "From the last byte of a request to its first byte upstream.",
        (),
        _OVERHEAD,
    ),
    Family("ai_inference_in_flight", "gauge", "Requests accepted and not yet finished.", ("model",)),
    Family(
        "ai_inference_upstream_errors_total",
        "counter",
        "Attempts that an endpoint failed.",
        ("endpoint", "cause"),
    ),
    Family("ai_inference_retries_total", "counter", "Attempts after the first.", ("model",)),
    Family(
        "ai_inference_client_disconnects_total", "counter", "Callers that left, by the phase they left in.", ("phase",)
    ),
    Family("fastpath_access_log_lines_total", "counter", "Access-log lines written."),
    Family("fastpath_access_log_dropped_total", "counter", "Access-log lines dropped rather than waited for."),
    Family("fastpath_loop_lag_seconds", "histogram", "How late the event loop ran its 100 ms tick.", (), _LAG),
    Family("fastpath_usage_estimated_total", "counter", "Answers whose usage the upstream did not say.", ("model",)),
    Family(
        "fastpath_memory_budget_bytes", "gauge", "Bytes of bodies and relay buffers: used, and the limit.", ("kind",)
    ),
    Family("fastpath_workers", "gauge", "Worker processes alive."),
    Family("fastpath_worker_restarts_total", "counter", "Workers replaced after they died."),
    Family("fastpath_config_reloads_total", "counter", "Reloads of the settings, by result.", ("result",)),
    Family("fastpath_build_info", "gauge", "Always 1; the version is in the label.", ("version",)),
)


class Snapshot(msgspec.Struct, array_like=True):
    """Every number of one process at one moment. A histogram row is its bucket counts, the overflow count, the sum."""

    counters: dict[str, dict[Labels, int]]
    histograms: dict[str, dict[Labels, list[float]]]
    gauges: dict[str, dict[Labels, float]]


def admit(rows: Mapping[Labels, Row], labels: Labels, limit: int) -> Labels:
    """The label set to count under: `labels` while there is room (or it is known), else all of it "other"."""
    known = labels in rows or len(rows) < limit
    return labels if known else (OTHER,) * len(labels)


class Metrics:
    """The registry of one process. `count` and `observe` cost about 0.1 us each once a label set exists.

    At most `limit` label sets per family; later ones are counted under "other", so that made-up model names cannot
    grow memory. Raises KeyError for a family that is not declared, ValueError for labels that do not fit it.
    """

    __slots__ = ("_bounds", "_counters", "_declared", "_histograms", "_limit", "_readers")

    def __init__(self, families: Iterable[Family] = FAMILIES, limit: int = MAX_LABEL_SETS) -> None:
        self._declared = {family.name: family for family in families}
        self._limit = limit
        self._counters: dict[str, dict[Labels, int]] = {}
        self._histograms: dict[str, dict[Labels, list[float]]] = {}
        self._bounds: dict[str, tuple[float, ...]] = {}
        self._readers: dict[str, Reader] = {}
        for family in self._declared.values():
            self._prepare(family)

    def _prepare(self, family: Family) -> None:
        # A family without labels is shown as 0 from the start, so that a rate over its first event exists.
        if family.kind == "counter":
            self._counters[family.name] = {} if family.labels else {(): 0}
        elif family.kind == "histogram":
            self._bounds[family.name] = family.buckets
            self._histograms[family.name] = {} if family.labels else {(): _empty_row(family)}

    def count(self, name: str, labels: Labels, n: int = 1) -> None:
        """Adds `n` to one counter."""
        rows = self._counters[name]
        try:
            rows[labels] += n
        except KeyError:
            labels = self._admit(name, rows, labels)
            rows[labels] = rows.get(labels, 0) + n

    def observe(self, name: str, labels: Labels, seconds: float) -> None:
        """Puts one duration into one histogram."""
        rows = self._histograms[name]
        try:
            row = rows[labels]
        except KeyError:
            labels = self._admit(name, rows, labels)
            row = rows.setdefault(labels, _empty_row(self._declared[name]))
        row[bisect_left(self._bounds[name], seconds)] += 1
        row[-1] += seconds

    def read(self, name: str, reader: Reader) -> None:
        """Asks `reader` for a gauge, or for a counter that someone else keeps, whenever a snapshot is taken.

        Raises KeyError for an undeclared family, ValueError for a histogram.
        """
        if self._declared[name].kind == "histogram":
            raise ValueError(f"{name} is a histogram: observe it")
        self._readers[name] = reader

    def snapshot(self) -> Snapshot:
        """A copy of every number, safe to encode and send while counting goes on."""
        counters = {name: dict(rows) for name, rows in self._counters.items()}
        gauges: dict[str, dict[Labels, float]] = {}
        for name, reader in self._readers.items():
            if self._declared[name].kind == "counter":
                counters[name] = {labels: int(value) for labels, value in reader().items()}
            else:
                gauges[name] = dict(reader())
        histograms = {
            name: {labels: list(row) for labels, row in rows.items()} for name, rows in self._histograms.items()
        }
        return Snapshot(counters, histograms, gauges)

    def _admit(self, name: str, rows: Mapping[Labels, Row], labels: Labels) -> Labels:
        declared = self._declared[name].labels
        if len(labels) != len(declared) or not all(isinstance(label, str) for label in labels):
            raise ValueError(f"{name} takes the labels {declared}, as strings, not {labels!r}")
        return admit(rows, labels, self._limit)


def _empty_row(family: Family) -> list[float]:
    return [0] * (len(family.buckets) + 1) + [0.0]
