"""`against_twin`: times a kernel and its twin on one input, checks that they agree, and that the kernel is worth it."""

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.duel import Side, duel_until
from bench.micro.floors import floor

Contest = Callable[[str, Side, Side], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--plant", action="store_true", help="put the twin in the kernel's place: every floor must fail")


@pytest.fixture
def against_twin(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Contest:
    """`against_twin(name, native, twin)`: both must return the same. Fails below the floor that `floors` has for it."""
    planted: bool = request.config.getoption("--plant")

    def contest(name: str, native: Side, twin: Side) -> None:
        assert native() == twin()
        least, kernel = floor(name), twin if planted else native
        found = duel_until(least, kernel, twin)
        benchmark.extra_info |= {"name": name, "native_ns": found.native_ns, "twin_ns": found.twin_ns}
        benchmark.group = name
        benchmark(kernel)
        assert found.factor >= least, f"{name}: {found.factor:.1f} times as fast as its twin, at least {least:.1f}"

    return contest
