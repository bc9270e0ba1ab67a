"""What each suite's record says, as markdown. Pure: records in, text out."""

from collections.abc import Callable
from statistics import median

import msgspec

from bench.e2e.__main__ import Figures as Race
from bench.e2e.ratios import Ratio
from bench.e2e.units import UNITS, Goal
from bench.memory.__main__ import GOALS as MEMORY_GOALS
from bench.memory.__main__ import KIB
from bench.memory.__main__ import Figures as Memory
from bench.money import stopped
from bench.money.__main__ import FAMILY_GOAL, WORKERS_GOAL, ratio_of
from bench.money.__main__ import Figures as Money
from bench.money.neighbour import TIMES, added_of
from bench.overload.__main__ import Figures as Overload
from bench.overload.saturation import Saturation
from bench.record import Record
from bench.report.page import markdown_table
from bench.scale.__main__ import Figures as Scale
from bench.slo.__main__ import Figures as Slo

TITLES = {
    "e2e": "CPU per request and per chunk",
    "slo": "Added latency",
    "memory": "Memory",
    "scale": "CPU per request as it grows",
    "overload": "Too much",
    "money": "Books",
}
#: What the command of each suite is, for the reader who wants the same.
COMMANDS = {name: "make bench" if name == "e2e" else f'make bench ARGS="{name}"' for name in TITLES}


def section(record: Record, picture: str | None) -> str:
    """Heading, on what and when, tables, the picture, and what does not count."""
    figures = f"![{TITLES[record.suite]}]({picture})" if picture else ""
    parts = [f"### {TITLES[record.suite]}", provenance(record), BODIES[record.suite](record), figures, verdict(record)]
    return "\n\n".join(part for part in parts if part)


def provenance(record: Record) -> str:
    """Command, date, machine, versions."""
    machine = record.machine
    where = "{cpus} x {cpu}, {memory_gib} GiB, Linux {kernel}".format_map(machine)
    versions = ", ".join(f"{name} {text}" for name, text in record.versions.items() if name != "python")
    return f"`{COMMANDS[record.suite]}`, {record.date[:10]}; {where}; {versions}."


def verdict(record: Record) -> str:
    """Goals missed, and why figures do not count."""
    missed = [f"- Goal missed: {text}." for text in record.missed]
    return "\n".join(missed + [f"- **Void**: {text}." for text in record.void])


def show_race(record: Record) -> str:
    """One table per unit, and system calls."""
    race = msgspec.convert(record.figures, Race)
    tables = [_race_table(race, name) for name in UNITS if any(row.unit == name for row in race.summary)]
    if race.calls:
        loop, everywhere = (calls.get("futex", 0.0) for calls in (race.calls.loop, race.calls.all_threads))
        tables.append(f"Futex calls per request, native door: {loop:.3f} on the loop, {everywhere:.3f} in all threads.")
    return "\n\n".join(tables)


def _race_table(race: Race, unit: str) -> str:
    rows = [row for row in race.summary if row.unit == unit]
    streamed = UNITS[unit].streamed
    headings = [UNITS[unit].title, "us CPU", f"ratio to {UNITS[unit].anchor}", "goal", "RSS MB"]
    return markdown_table(headings + ["tokens/s per core"] * streamed, [_race_cells(row, race.goals) for row in rows])


def _race_cells(row: Ratio, goals: list[Goal]) -> list[str]:
    goal = [f"<= {g.limit:g}" for g in goals if (g.unit, g.name, g.anchor) == (row.unit, row.name, row.anchor)]
    ratio = f"{row.median:.2f} ({row.lowest:.2f} to {row.highest:.2f})"
    tokens = [f"{row.tokens_per_core:,.0f}"] if row.tokens_per_core else []
    return [row.name, f"{row.cpu_us:.1f}", ratio, goal[0] if goal else "", f"{row.rss_mb:.0f}", *tokens]


def show_slo(record: Record) -> str:
    """Added milliseconds per level."""
    headings = ["load", "of peak", "a second", "through", "what", "direct p99", "+p50", "+p99", "+p99.9", ""]
    rows = [
        [
            f"{level.kind}, {level.pace}",
            f"{level.share:.0%}",
            f"{level.rate:,.0f}",
            name,
            part,
            f"{getattr(level.answered['direct'], part).p99:.3f}",
            *(f"{number:.3f}" for number in (added.p50, added.p99, added.p999)),
            f"void in {level.tries}" if level.void else "",
        ]
        for level in msgspec.convert(record.figures, Slo).levels
        for name, parts in level.added.items()
        for part, added in parts.items()
    ]
    return "Milliseconds added to a direct connection at the same rate.\n\n" + markdown_table(headings, rows)


def show_memory(record: Record) -> str:
    """KiB per stream, and the soaks."""
    memory = msgspec.convert(record.figures, Memory)
    rows = [
        [
            found.kind,
            found.name,
            str(found.workers),
            f"{found.levels[0].streams:,} to {found.levels[-1].streams:,}",
            f"{found.per_stream / KIB:.1f}",
            f"<= {limit // KIB}" if (limit := MEMORY_GOALS.get((found.name, found.kind))) else "",
        ]
        for found in memory.growth
    ]
    tables = (
        [markdown_table(["streams", "proxy", "workers", "measured from", "KiB per stream", "goal"], rows, 2)]
        if rows
        else []
    )
    if memory.soaks:
        headings = ["soak", "minutes", "requests", "MiB per 100,000", "descriptors before and after"]
        tables.append(
            markdown_table(
                headings,
                [
                    [
                        s.door,
                        f"{s.minutes:g}",
                        f"{s.after.requests:,}",
                        f"{s.slope_mb:+.2f}",
                        f"{s.before.descriptors}, {s.after.descriptors}",
                    ]
                    for s in memory.soaks
                ],
            )
        )
    return "\n\n".join(tables)


def show_scale(record: Record) -> str:
    """Points of the curves."""
    rows = [
        [
            p.curve,
            p.name,
            f"{p.x:,}",
            *(
                (f"{p.cpu_us:.1f}", f"{p.ratio:.2f} ({p.lowest:.2f} to {p.highest:.2f})")
                if not p.void
                else ("void", "")
            ),
        ]
        for p in msgspec.convert(record.figures, Scale).points
    ]
    return markdown_table(["over", "proxy", "at", "us CPU", "ratio to haproxy at 64 connections"], rows, 2)


def show_overload(record: Record) -> str:
    """Health beside a firehose, and twice the peak."""
    overload = msgspec.convert(record.figures, Overload)
    health = [
        [f.door, *(f"{ms:.2f}" for ms in (f.idle.p50, f.idle.p99, f.beside.p50, f.beside.p99)), f"{f.mb_per_s:.0f}"]
        for f in overload.firehose
    ]
    headings = ["/healthz, ms", "idle p50", "idle p99", "beside a firehose p50", "p99", "stream MB/s"]
    tables = [markdown_table(headings, health)] if health else []
    if overload.saturation:
        headings = [
            "twice the peak",
            "peak/s",
            "admitted p99 ms",
            "unloaded p99 ms",
            "refused",
            "longest accept queue",
            "recovery s",
        ]
        tables.append(markdown_table(headings, [_saturation_cells(found) for found in overload.saturation]))
    return "\n\n".join(tables)


def _saturation_cells(found: Saturation) -> list[str]:
    waiting = max((look.waiting for look in found.looks), default=0)
    times = [f"{found.loaded.answered.p99:.2f}", f"{found.unloaded.answered.p99:.2f}"]
    recovery = "none" if found.recovery_s is None else f"{found.recovery_s:.2f}"
    return [found.door, f"{found.peak:,.0f}", *times, f"{found.loaded.refused:,}", f"{waiting:,}", recovery]


def show_money(record: Record) -> str:
    """What books cost, whether they keep up, and what a loud tenant does to another."""
    found = msgspec.convert(record.figures, Money)
    parts = []
    if found.rounds:
        rows = []
        for what, goal in (("workers", WORKERS_GOAL), ("family", FAMILY_GOAL)):
            us = median(getattr(one, f"{what}_us") for one in found.rounds)
            rows.append([what, f"{us:.1f}", f"{ratio_of(found.rounds, what):.2f}", f"<= {goal}"])
        parts.append(markdown_table(["request, 0.9 kB, with books", "us CPU", "ratio to haproxy", "goal"], rows))
    if (course := found.course) is not None:
        parts.append(
            f"{course.answered.ok:,} requests at {course.rate:,.0f}/s for {course.seconds:.0f} s on SQLite: at most "
            f"{course.peak_mb:.1f} MiB waited, {course.longest_lag_s:.1f} s behind; caught up {course.drained_s:.1f} s "
            "after the last."
        )
    if found.pairs:
        count = sum(pair.beside.latency.count for pair in found.pairs)
        parts.append(
            f"Beside a tenant at {TIMES} times its limit another's p95 changes by {added_of(found.pairs):+.1%} "
            f"({count:,} requests)."
        )
    if found.halts:
        running = median(pair.running.latency.p99 for pair in found.halts)
        parts.append(
            f"With the Redis that nodes share through stopped, the p99 changes by "
            f"{stopped.added_of(found.halts):+.2f} ms from {running:.2f} ms at {stopped.RATE:,.0f} requests/s."
        )
    return "\n\n".join(parts)


BODIES: dict[str, Callable[[Record], str]] = {
    "e2e": show_race,
    "slo": show_slo,
    "memory": show_memory,
    "scale": show_scale,
    "overload": show_overload,
    "money": show_money,
}
