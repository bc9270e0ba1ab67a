"""The score kernel beside its twin, and whole decisions against the budget of the design."""

from collections.abc import Callable
from typing import Any

import pytest

from _native import score as native
from _native.reference import score as twin
from _native.reference.load import Load as ReferenceLoad
from bench.micro.choices import Choosing, percentile
from bench.micro.conftest import Contest
from scheduler.endpoint import EndpointTable

WEIGHTS = (0.40, 0.25, 0.20, 0.15)
TABLE = (0.8, 1.0, 0.0, 1.0, 1.0, 0.3, 1.0, 1.0, 0.6)
#: Seconds at the 99th percentile that a decision may take, by how many endpoints are left to be looked at.
BUDGET = {100: 20e-6, 1_000: 200e-6}
#: Of the shortest decisions: those whom a filter dropped may cost so many times what there is without them.
GROWTH = 2.5
TRIES = 3


def decision(module: Any, count: int) -> Callable[[], object]:
    rows = [
        (place, place % 50, 1 + place % 2, -1, 0.5 + place % 50 / 100, 0.0, 1024.0, 1.0 + place % 7, 1.0, 0, 0, 0, 0)
        for place in range(count)
    ]
    pool, table = module.Pool(rows), EndpointTable()
    for place in range(count):
        table.slot(place, 1)
    live = module.Live(table.columns, table.load if module is native else ReferenceLoad(table.columns))
    view = pool.narrow(bytes(count), 0, 400.0, bytes([100] * count))
    plan, ask = module.Plan(WEIGHTS, TABLE, 1.0, 10.0), module.Ask(2, 100.0, 300.0, 400.0)

    def decide() -> object:
        pool.gather(view, live, plan, ask, 1.0)
        kind = pool.judge(view, plan, ask, 0)
        return kind, pool.slots(view, kind)

    return decide


@pytest.mark.parametrize("count", [100, 1_000])
def test_decision(against_twin: Contest, count: int) -> None:
    against_twin(f"score among {count:,}", decision(native, count), decision(twin, count))


@pytest.mark.parametrize("count", BUDGET)
def test_a_whole_decision_is_within_its_budget(count: int) -> None:
    choosing = Choosing(count, count)
    found = []
    for _ in range(TRIES):
        found.append(percentile(choosing.times(), 0.99))
        if found[-1] <= BUDGET[count]:
            break
    print(f"\nwhole decision among {count:,}: p99 {found[-1] * 1e6:.1f} us, at most {BUDGET[count] * 1e6:.0f}")
    assert min(found) <= BUDGET[count]


def test_those_that_a_filter_dropped_cost_next_to_nothing() -> None:
    """The curve: ten endpoints are left, of ever more."""
    curve = {count: percentile(Choosing(count, 10).times(), 0.1) for count in (20, 100, 1_000, 4_000)}
    print("\n" + "\n".join(f"10 left of {count:,}: {took * 1e6:.1f} us" for count, took in curve.items()))
    assert curve[4_000] <= GROWTH * curve[20]
