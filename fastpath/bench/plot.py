"""One picture of a result: how TTFT and TPOT are distributed, and the throughput over time.

Owns the drawing. Matplotlib is an optional extra, imported when a picture is drawn. Single thread.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastpath.bench.figures import Summary
from fastpath.bench.result import Result
from fastpath.bench.slo import Slo
from fastpath.bench.tally import Outcome

EXTRA = "plot"
_BLUE, _ORANGE, _RED = "#3b6ea8", "#d98032", "#b3261e"


class PlotError(Exception):
    """No picture can be drawn; the text says what to install."""


def draw(result: Result, outcomes: Sequence[Outcome], path: Path) -> None:
    """Writes the picture in the format of the path's ending. Raises PlotError without Matplotlib, and OSError."""
    figure = _new_figure()
    figure.suptitle(f"{result.setup.model} at {result.setup.url}", fontsize=11)
    first, second, third = figure.subplots(1, 3)
    done = [one for one in outcomes if one.error is None]
    limits = Slo() if result.goodput is None else result.goodput.limits
    latency = result.latency
    ttft = [one.ttft for one in done if one.ttft is not None]
    tpot = [one.tpot for one in done if one.tpot is not None]
    _distribution(first, "time to first token", ttft, latency.ttft, limits.ttft)
    _distribution(second, "time per output token", tpot, latency.tpot, limits.tpot)
    _throughput(third, result)
    # No date inside: the same result gives the same file.
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})


def _new_figure() -> Any:
    try:
        module = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise PlotError(f"plots need Matplotlib: pip install 'fastpath-gateway[{EXTRA}]'") from error
    return module.Figure(figsize=(13, 4), dpi=110, layout="constrained")


def _distribution(axes: Any, name: str, times: Sequence[float], summary: Summary, limit: float | None) -> None:
    """The share of answers that took at most so long: no bins to choose, and every percentile can be read off."""
    ordered = sorted(times)
    shares = [(number + 1) / len(ordered) for number in range(len(ordered))]
    axes.step([time * 1e3 for time in ordered], shares, where="post", color=_BLUE)
    if summary.p50 is not None and summary.p99 is not None:
        name = f"{name}: p50 {summary.p50 * 1e3:.4g}, p99 {summary.p99 * 1e3:.4g} ms"
    if limit is not None:
        axes.axvline(limit * 1e3, color=_RED, linewidth=1)
        axes.annotate("SLO ", (limit * 1e3, 0.05), color=_RED, fontsize=8, ha="right")
    axes.set(xlabel="ms", ylabel="share of answers", ylim=(0, 1.02))
    axes.set_title(name, fontsize=10)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)


def _throughput(axes: Any, result: Result) -> None:
    """Tokens on the left scale, requests on the right."""
    seconds = result.timeline
    edges = range(len(seconds) + 1)
    axes.stairs([second.output_tokens for second in seconds], edges, color=_BLUE, linewidth=1.5)
    axes.set(xlabel="s", ylabel="output tokens / s", ylim=(0, None))
    axes.set_title("throughput", fontsize=10)
    axes.yaxis.label.set_color(_BLUE)
    axes.grid(alpha=0.3)
    right = axes.twinx()
    right.stairs([second.completed for second in seconds], edges, color=_ORANGE, linewidth=1.5)
    if result.errors:
        right.stairs([second.failed for second in seconds], edges, color=_RED, linestyle="--")
    right.set_ylabel("requests completed / s" + (" (red: failed)" if result.errors else ""), color=_ORANGE)
    right.set_ylim(bottom=0)
