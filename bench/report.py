"""What a race found: ratios to the anchor of the same round, their median and spread, and the table. Pure."""

from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

#: What every figure is divided by, per kind.
ANCHORS = {"request": "haproxy", "chunk": "nginx"}
#: The most that Fastpath may cost, as that ratio.
GOALS = {"request": 3.0, "chunk": 2.0}


class Measurement(msgspec.Struct, frozen=True):
    """One proxy measured once. `figures` are those of per_request or per_chunk; `void` says why they do not count."""

    name: str
    kind: str
    figures: dict[str, float | str]
    void: str | None = None


class Ratio(msgspec.Struct, frozen=True):
    """Of one proxy to the anchor, over all rounds; `cpu_us` is the median of its own microseconds."""

    name: str
    kind: str
    cpu_us: float
    median: float
    lowest: float
    highest: float
    rounds: int
    rss_mb: float


class Report(msgspec.Struct, kw_only=True):
    """The file under bench/results."""

    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    method: dict[str, int]
    rounds: list[list[Measurement]]
    summary: list[Ratio]
    void: list[str]
    goals: dict[str, float]


def summarise(rounds: list[list[Measurement]]) -> list[Ratio]:
    """One row per proxy and kind; rounds without the proxy's or the anchor's figure are left out."""
    keys = dict.fromkeys((m.kind, m.name) for measured in rounds for m in measured)
    rows = [_ratio(kind, name, rounds) for kind, name in sorted(keys)]
    return sorted((row for row in rows if row is not None), key=lambda row: (row.kind != "request", row.median))


def _ratio(kind: str, name: str, rounds: list[list[Measurement]]) -> Ratio | None:
    own, ratios, memory = [], [], []
    for measured in rounds:
        figures = {m.name: m.figures for m in measured if m.kind == kind and m.figures}
        anchor = figures.get(ANCHORS[kind])
        if anchor is not None and name in figures:
            own.append(float(figures[name]["cpu_us"]))
            memory.append(float(figures[name]["rss_mb"]))
            ratios.append(own[-1] / float(anchor["cpu_us"]))
    if not ratios:
        return None
    return Ratio(name, kind, median(own), median(ratios), min(ratios), max(ratios), len(ratios), median(memory))


def missed_goals(summary: list[Ratio]) -> list[str]:
    """Kinds whose goal Fastpath missed."""
    return [row.kind for row in summary if row.name == "fastpath" and row.median > GOALS[row.kind]]


def show(report: Report, console: Console) -> None:
    """Prints the table and what makes the run void."""
    table = Table(title=f"race, {report.date}")
    for heading in ("unit", "proxy", "us CPU", "ratio", "lowest to highest", "rounds", "RSS MB"):
        table.add_column(heading, justify="left" if heading in ("unit", "proxy") else "right")
    for row in report.summary:
        spread = f"{row.lowest:.2f} to {row.highest:.2f}"
        cells = (f"{row.cpu_us:.1f}", f"{row.median:.2f}", spread, str(row.rounds), f"{row.rss_mb:.0f}")
        table.add_row(row.kind, row.name, *cells)
    console.print(table)
    for kind in missed_goals(report.summary):
        console.print(f"goal missed: {kind} <= {GOALS[kind]} x {ANCHORS[kind]}")
    for reason in report.void:
        console.print(f"VOID: {reason}", markup=False)
