"""What the tests of measurements share: whether a measurement can be made here at all, and distributions to make up."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.slo.client import Answered, Distribution
from bench.stage.programs import BenchError, require


@pytest.fixture(scope="session")
def programs_of_the_bench() -> None:
    """Skips where `make bench` has not installed its programs, or where there is one CPU."""
    try:
        require("haproxy", "nginx", "wrk", "gcc")
    except BenchError as error:
        pytest.skip(str(error))


@pytest.fixture
def root() -> Path:
    """The project's folder."""
    return Path(__file__).parents[2]


@pytest.fixture
def answered() -> Callable[..., Answered]:
    """An open-loop report whose latency has these percentiles: `answered(p50=1, p99=2)`; other counts by name."""

    def make(p50: float = 0.1, p99: float = 0.2, p999: float = 0.3, **counts: int) -> Answered:
        found = Distribution(100, p50, p50, p50, p99, p999, p999)
        numbers = {"offered": 100, "ok": 100, "refused": 0, "broken": 0, "unfinished": 0, "events": 0} | counts
        return Answered(**numbers, latency=found, first_event=found, gap=found, late=found)

    return make
