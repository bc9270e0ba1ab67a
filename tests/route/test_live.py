"""What one table says of its endpoints, written into another: the same decision, whatever the clocks say."""

import msgspec
import pytest

from fastpath.route.live import AMOUNTS, MOMENTS, LiveEndpoint, read_live, write_live
from scheduler.endpoint import EndpointTable
from tests.route.lineups import World, place


def world() -> World:
    return World(
        place("home", "L1", 1.0, throughput=2_000.0), place("cloud", "L2", 4.0, ttft=0.4), strategy="local_first"
    )


def read(here: World) -> list[LiveEndpoint]:
    return read_live(here.snapshot, here.table, here.clock.monotonic())


def write(live: list[LiveEndpoint], here: World) -> int:
    return write_live(live, here.snapshot, here.table, here.clock.monotonic())


def test_no_column_of_load_or_health_is_left_out() -> None:
    configured = {"weight", "turn", "identity", "ttft_prior", "throughput_prior"}
    assert {*AMOUNTS, *MOMENTS} == set(EndpointTable().columns) - configured


@pytest.mark.parametrize(
    ("column", "value", "chosen"),
    [("kv_usage", 0.0, "home"), ("queued", 40_000.0, "cloud"), ("tokens", 90_000.0, "cloud"), ("ttft", 60.0, "cloud")],
)
def test_another_process_decides_the_same_by_it(column: str, value: float, chosen: str) -> None:
    here, there = world(), world()
    here.clock.advance(100.0)
    there.clock.advance(5_000.0)
    here.set(column, home=value)
    here.clock.advance(0.5)
    sent = msgspec.json.encode(read(here))
    assert write(msgspec.json.decode(sent, type=list[LiveEndpoint]), there) == 2
    told, again = here.decide("P2"), there.decide("P2")
    assert told.endpoint == chosen
    assert (again.endpoint, again.reason, again.dropped) == (told.endpoint, told.reason, told.dropped)


def test_what_is_no_amount_breaks_nothing_and_strangers_are_left_out() -> None:
    here = world()
    known = LiveEndpoint("m", "home", {"in_flight": 1e300, "queued": 5.0}, {"out_until": 3.0})
    assert write([known, LiveEndpoint("m", "stranger", {}, {}), LiveEndpoint("n", "home", {}, {})], here) == 1
    assert here.table.queued[here.slot("home")] == 5.0
    assert here.table.out_until[here.slot("home")] == here.clock.monotonic() + 3.0
