"""Local first, in virtual time: the cloud while too much waits at home, and no longer; measured slowness fades."""

import pytest

from fastpath.settings import Routing
from tests.route.lineups import World, dropped, place

ROUTING = Routing(overflow_wait=2.0, overflow_back=1.0)


def home_and_cloud(**model: str) -> World:
    """Two of each; the second cloud is better than anything at home, and the second at home dearer."""
    return World(
        place("home", "L1", 1.0, throughput=2_000.0),
        place("home2", "L1", 2.0, throughput=2_000.0),
        place("cloud", "L2", 4.0),
        place("cloud2", "L2", 3.0, quality=1.0, ttft=0.05),
        routing=ROUTING,
        strategy=model.get("strategy", "local_first"),
    )


def wait(world: World, home: float, home2: float) -> None:
    world.set("queued", home=home * 2_000, home2=home2 * 2_000)


def test_the_cheapest_healthy_one_at_home_comes_first() -> None:
    world = home_and_cloud()
    picks = [world.decide().endpoint for _ in range(100)]
    assert picks.count("home") >= 95
    assert dropped(world.decide()) == {"cloud": "cost/local_has_room", "cloud2": "cost/local_has_room"}
    world.set("out_until", home=world.clock.monotonic() + 5)
    assert world.decide().endpoint == "home2"


def test_overflow_begins_above_the_limit_and_ends_below_the_other() -> None:
    world = home_and_cloud()
    steps = [
        (1.9, "home"),
        (2.1, "cloud2"),
        (1.5, "cloud2"),
        (1.1, "cloud2"),
        (0.9, "home"),
        (1.9, "home"),
        (2.5, "cloud2"),
    ]
    for seconds, tier in steps:
        wait(world, seconds, seconds)
        choice = world.decide()
        assert choice.endpoint == tier, seconds
        if tier == "cloud2":
            assert choice.reason == "overflow"
            assert dropped(choice) == {"home": "performance/local_waits", "home2": "performance/local_waits"}


def test_one_with_room_is_enough() -> None:
    world = home_and_cloud()
    wait(world, 9.0, 0.5)
    assert world.decide().endpoint == "home2"


@pytest.mark.parametrize("data_class", ["P0", "P1"])
def test_what_must_stay_waits_at_home(data_class: str) -> None:
    world = home_and_cloud()
    wait(world, 5.0, 6.0)
    choice = world.decide(data_class)
    assert choice.endpoint == "home"
    assert dropped(choice) == {"cloud": "safety/tier", "cloud2": "safety/tier"}


def test_a_burst_overflows_and_the_share_of_the_cloud_is_zero_again_within_15_s() -> None:
    """Ten seconds of 60 requests a second of 200 tokens: home reads 4,000 tokens a second, a third of it. What goes
    home is queued, and read at 2,000 tokens a second by each."""
    world = home_and_cloud()
    queued = {"home": 0.0, "home2": 0.0}
    went: list[tuple[float, str]] = []
    ends = last_cloud = 0.0
    for step in range(400):
        now = step * 0.1
        rate = 60 if now < 10 else 5
        for _ in range(rate // 10 if rate >= 10 else step % 2):
            name = world.decide(prompt=200).endpoint
            assert name is not None
            went.append((now, name))
            if name in queued:
                queued[name] += 200
        for name in queued:
            queued[name] = max(0.0, queued[name] - 200)
        world.set("queued", **queued)
        world.clock.advance(0.1)
    ends = 10.0
    last_cloud = max(at for at, name in went if name.startswith("cloud"))
    during = [name for at, name in went if at < 10]
    assert sum(name.startswith("cloud") for name in during) / len(during) > 0.3
    assert last_cloud - ends < 5.0
    assert all(name.startswith("home") for at, name in went if at >= 15.0)


def test_measured_slowness_does_not_bar_an_endpoint_for_ever() -> None:
    world = World(place("home", "L1", 1.0, ttft=0.5), place("cloud", "L2", 4.0, quality=0.95, ttft=0.3))
    world.set("ttft", home=30.0)
    assert world.decide().endpoint == "cloud"
    world.clock.advance(20.0)
    assert world.decide().endpoint == "home"
