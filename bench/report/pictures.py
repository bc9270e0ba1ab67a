"""What each suite's record shows, drawn with matplotlib as SVG. The same record gives the same bytes."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.e2e.__main__ import Figures as Race
from bench.e2e.units import UNITS
from bench.memory.__main__ import KIB
from bench.memory.__main__ import Figures as Memory
from bench.money.__main__ import Figures as Money
from bench.money.__main__ import ratio_of
from bench.overload.__main__ import Figures as Overload
from bench.record import Record
from bench.scale.__main__ import Figures as Scale
from bench.slo.__main__ import Figures as Slo
from bench.slo.levels import Level

OURS, OTHERS = "#0b6e4f", "#9aa5b1"


def draw(record: Record, folder: Path) -> Path | None:
    """Writes SUITE.svg; None when the record has nothing to draw."""
    if not any(record.figures.get(name) for name in DRAWN[record.suite]):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.suite}.svg"
    with matplotlib.rc_context({"svg.hashsalt": "bench", "font.size": 8, "svg.fonttype": "none"}):
        figure = DRAWERS[record.suite](record)
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    return path


def panels(count: int, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, two in a row."""
    rows = (count + 1) // 2
    figure = Figure(figsize=(9, height * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, min(count, 2), at + 1) for at in range(count)]


def draw_race(record: Record) -> Figure:
    """Bars of ratios with their spread, one panel per unit."""
    race = msgspec.convert(record.figures, Race)
    units = [name for name in UNITS if any(row.unit == name for row in race.summary)]
    figure, axes = panels(len(units))
    for unit, axis in zip(units, axes, strict=True):
        rows = [row for row in reversed(race.summary) if row.unit == unit]
        middle = [row.median for row in rows]
        spread = [[row.median - row.lowest for row in rows], [row.highest - row.median for row in rows]]
        axis.barh([row.name for row in rows], middle, xerr=spread, color=[color_of(row.name) for row in rows])
        axis.axvline(1, color="black", linewidth=0.6)
        if max(middle) > 20:
            axis.set_xscale("log")
        axis.set_title(f"CPU per {UNITS[unit].title}, times {UNITS[unit].anchor}")
    return figure


def draw_slo(record: Record) -> Figure:
    """Added milliseconds over the share of the peak, one panel per door and kind of load."""
    levels = msgspec.convert(record.figures, Slo).levels
    groups = dict.fromkeys((level.door, level.kind, level.pace) for level in levels)
    figure, axes = panels(len(groups))
    for group, axis in zip(groups, axes, strict=True):
        door, kind, pace = group
        part = "latency" if kind == "request" else "first_event"
        own = sorted((x for x in levels if (x.door, x.kind, x.pace) == group), key=lambda level: level.share)
        for name in (door, "haproxy"):
            _draw_added(axis, own, name, part)
        axis.set_yscale("symlog", linthresh=0.1)
        axis.set_title(f"{door}, {kind}, {pace}: {part.replace('_', ' ')}, added ms")
        axis.set_xlabel("share of the door's peak; rings: void")
        axis.legend()
    return figure


def _draw_added(axis: Axes, levels: list[Level], name: str, part: str) -> None:
    for percentile, style in (("p50", "-"), ("p99", "--"), ("p999", ":")):
        xs, ys = [x.share for x in levels], [getattr(x.added[name][part], percentile) for x in levels]
        axis.plot(xs, ys, style, color=color_of(name), label=f"{name} {percentile}")
        void = [(x, y) for x, y, level in zip(xs, ys, levels, strict=True) if level.void]
        axis.plot([x for x, _ in void], [y for _, y in void], "o", color=color_of(name), fillstyle="none")


def draw_memory(record: Record) -> Figure:
    """Bytes per stream as bars; resident memory over requests as lines."""
    memory = msgspec.convert(record.figures, Memory)
    figure, (bars, lines) = panels(2, 3.2)
    rows = list(reversed(memory.growth))
    names = [f"{row.name}, {row.kind}" for row in rows]
    bars.barh(names, [max(row.per_stream / KIB, 1) for row in rows], color=[color_of(row.name) for row in rows])
    bars.set_xscale("log")
    bars.set_xlim(left=1)
    bars.set_title("KiB per stream")
    for soaked in memory.soaks:
        points = soaked.series
        lines.plot(
            [p.requests for p in points], [p.rss_mb for p in points], label=f"{soaked.door} {soaked.slope_mb:+.2f}"
        )
    if memory.soaks:
        lines.legend(title="MiB per 100,000 requests")
    lines.set_title("soak: RSS in MiB over requests")
    return figure


def draw_scale(record: Record) -> Figure:
    """Ratios over what is varied, one panel per curve."""
    points = [point for point in msgspec.convert(record.figures, Scale).points if not point.void]
    curves = dict.fromkeys(point.curve for point in points)
    figure, axes = panels(len(curves))
    for curve, axis in zip(curves, axes, strict=True):
        for name in dict.fromkeys(point.name for point in points if point.curve == curve):
            own = sorted((p for p in points if (p.curve, p.name) == (curve, name)), key=lambda point: point.x)
            spread = [[p.ratio - p.lowest for p in own], [p.highest - p.ratio for p in own]]
            axis.errorbar([p.x for p in own], [p.ratio for p in own], spread, marker="o", markersize=3, label=name)
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_title(f"over {curve}: CPU per request, times haproxy")
        axis.legend()
    return figure


def draw_overload(record: Record) -> Figure:
    """The accept queue and descriptors through the overload."""
    found = msgspec.convert(record.figures, Overload).saturation
    figure, axes = panels(len(found))
    for run, axis in zip(found, axes, strict=True):
        seconds = [look.seconds for look in run.looks]
        axis.plot(seconds, [look.waiting for look in run.looks], label="connections waiting to be accepted")
        axis.plot(seconds, [look.descriptors for look in run.looks], label="descriptors of the gateway")
        axis.set_title(f"{run.door} at twice its peak, over seconds")
        axis.legend()
    return figure


def draw_money(record: Record) -> Figure:
    """CPU per request as bars; what waited for the books over time."""
    found = msgspec.convert(record.figures, Money)
    figure, (bars, line) = panels(2)
    if found.rounds:
        bars.barh(["family", "workers"], [ratio_of(found.rounds, what) for what in ("family", "workers")], color=OURS)
        bars.axvline(1, color="black", linewidth=0.6)
    bars.set_title("CPU per request with books, times haproxy")
    if found.course is not None:
        looks = found.course.looks
        line.plot([look.at for look in looks], [look.backlog.lag_seconds for look in looks], color=OURS)
    line.set_title("seconds that the books are behind, over seconds")
    return figure


def color_of(name: str) -> str:
    """Ours and others'."""
    return OURS if name.startswith("fastpath") or name.partition("-")[0] in ("native", "granian") else OTHERS


#: The figures that a suite's picture shows.
DRAWN = {
    "e2e": ("summary",),
    "slo": ("levels",),
    "memory": ("growth", "soaks"),
    "scale": ("points",),
    "overload": ("saturation",),
    "money": ("rounds", "course"),
}
DRAWERS: dict[str, Callable[[Record], Figure]] = {
    "e2e": draw_race,
    "slo": draw_slo,
    "memory": draw_memory,
    "scale": draw_scale,
    "overload": draw_overload,
    "money": draw_money,
}
