"""The bar that shows how far a run is.

Owns the drawing on standard error, and nothing of it when that is no terminal. Called from the run's loop: no thread.
"""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fastpath.bench.figures import percentile
from fastpath.bench.session import Watch
from fastpath.bench.tally import Tally

#: Answers whose times the bar shows: what happened lately, and quick to sort.
RECENT = 200


@contextlib.contextmanager
def show_progress(requests: int | None, duration: float | None) -> Iterator[Watch]:
    """Gives what `measure` calls. The bar counts requests when their number is known, else seconds."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda tally, elapsed: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task("measuring", total=requests or duration, said="warming up")
        yield lambda tally, elapsed: _update(bar, task, tally, elapsed if requests is None else None)


def _update(bar: Progress, task: TaskID, tally: Tally, elapsed: float | None) -> None:
    done = len(tally.outcomes) if elapsed is None else elapsed
    bar.update(task, completed=done, said=say(tally))
    bar.refresh()


def say(tally: Tally) -> str:
    """The run in a line."""
    times = sorted(one.ttft for one in tally.outcomes[-RECENT:] if one.ttft is not None)
    ttft = f", TTFT p50 {percentile(times, 0.5) * 1e3:.0f} ms" if times else ""
    failed = f", [red]{tally.errors.total():,} failed[/red]" if tally.errors else ""
    return f"{tally.completed:,} done, {tally.in_flight:,} in flight{ttft}{failed}"
