"""The endpoint table's load: one attempt charged and given back, and the choice among replicas that differ."""

import pytest

from _native import load as native
from _native.reference import load as twin
from bench.micro.conftest import Contest
from scheduler.endpoint import EndpointTable

NOW = 1_000.0


def table_of(count: int) -> EndpointTable:
    """Replicas under load, of which each third has said how busy it is."""
    table = EndpointTable()
    for key in range(count):
        slot = table.slot(key, 1)
        table.expect(slot, key, 2_000.0 + key, None)
        table.load.send(slot, 100 * (1 + key * 7 % 13))
        if key % 3 == 0:
            table.load.note(slot, NOW - 1.0, 2_500.0 + key, 0.4, 0.0)
    return table


def twin_of(table: EndpointTable) -> twin.Load:
    """The twin over the same columns."""
    return twin.Load({name: column for name, column in vars(table).items() if hasattr(column, "typecode")})


def test_charge(against_twin: Contest) -> None:
    table = table_of(4)

    def charge(load: native.Load | twin.Load) -> None:
        load.settle(1, 250, load.send(1, 250))
        load.end(1)

    pure = twin_of(table)
    against_twin("load charge", lambda: charge(table.load), lambda: charge(pure))


@pytest.mark.parametrize("count", [4, 100])
def test_pick(against_twin: Contest, count: int) -> None:
    """One is best by far, so that both sides find the same one every time."""
    table, slots = table_of(count), list(range(count))
    table.tokens[count // 2] = 0.0
    pure = twin_of(table)
    ours, theirs = table.load, pure
    against_twin(
        f"load pick of {count}", lambda: ours.least(slots, 1_000, NOW), lambda: theirs.least(slots, 1_000, NOW)
    )
