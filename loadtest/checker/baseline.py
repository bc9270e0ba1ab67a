"""J8: file descriptors, tasks, connections and memory return to the baseline, within 5 % and 60 s.

Memory may also end below it. The proxy must have seen every connection closed. Pure functions of the history.
"""

from collections.abc import Iterator

from loadtest.checker.history import History, Sample, Violation

TOLERANCE = 0.05
WINDOW_S = 60.0
GAUGES = ("fds", "tasks", "connections", "rss")


def check(history: History) -> list[Violation]:
    """The violations of J8: open connections first, then one per process and gauge."""
    return [*_open_connections(history), *_gauges(history)]


def _open_connections(history: History) -> Iterator[Violation]:
    for line in history.proxy:
        if line.closed is None:
            yield Violation(f"proxy {line.id}", f"connection from {line.client} is still open")


def _gauges(history: History) -> Iterator[Violation]:
    for before in history.before:
        samples = [line for line in history.after if line.process == before.process]
        if not samples:
            yield Violation(f"process {before.process}", "no sample after the run")
            continue
        samples = [line for line in samples if line.at - samples[0].at <= WINDOW_S]
        yield from _drifts(before, samples)


def _drifts(before: Sample, samples: list[Sample]) -> Iterator[Violation]:
    for gauge in GAUGES:
        base, values = getattr(before, gauge), [getattr(line, gauge) for line in samples]
        if base is not None and not any(_is_back(gauge, base, value) for value in values):
            yield Violation(f"process {before.process}", f"{gauge}: {base} before, {values[-1]} after")


def _is_back(gauge: str, base: int, value: int | None) -> bool:
    if value is None:
        return False
    return value <= base * (1 + TOLERANCE) and (gauge == "rss" or value >= base * (1 - TOLERANCE))
