"""Choices worked out by hand, each sum written out: what the score means, in numbers that a person can check."""

import pytest

from fastpath.errors import GatewayError
from fastpath.settings import Routing
from scheduler.choice import Dropped, Step
from tests.route.lineups import World, dropped, place, totals


def local_and_cloud() -> World:
    local = place("local", "L1", 1.0, quality=0.8, ttft=0.5)
    return World(local, place("cloud", "L2", 4.0, quality=0.95, ttft=0.3))


def test_1_at_home_by_safety_and_price() -> None:
    """.4*1 + .25*.8 + .2/(1+.5) + .15*1/1 = .8833 against .4*.6 + .25*.95 + .2/(1+.3) + .15*1/4 = .6688"""
    choice = local_and_cloud().decide()
    assert choice.endpoint == "local"
    assert choice.reason == "score"
    assert totals(choice) == pytest.approx({"local": 0.8833, "cloud": 0.6688}, abs=5e-5)
    local, cloud = choice.scored
    assert (local.safety, local.capability, local.cost) == (1.0, 0.8, 1.0)
    assert (cloud.safety, cloud.capability, cloud.cost) == (0.6, 0.95, 0.25)
    assert local.latency == pytest.approx(0.6667, abs=5e-5)
    assert cloud.latency == pytest.approx(0.7692, abs=5e-5)


def test_2_a_slow_home_still_wins_by_score_until_it_is_past_its_deadline() -> None:
    """.4*1 + .25*.8 + .2/(1+30) + .15 = .7565, still more than .6688; the step decides, not the score"""
    patient = Routing(deadline=60.0)
    endpoints = local_and_cloud().settings.models[0].endpoints
    choice = World(*endpoints, routing=patient).set("ttft", local=30.0).decide()
    assert choice.endpoint == "local"
    assert totals(choice) == pytest.approx({"local": 0.7565, "cloud": 0.6688}, abs=5e-5)
    choice = local_and_cloud().set("ttft", local=30.0).decide()
    assert choice.endpoint == "cloud"
    assert choice.reason == "overflow"
    assert choice.dropped == (Dropped("local", Step.PERFORMANCE, "late"),)


def test_3_the_most_sensitive_prefer_a_server_to_a_terminal() -> None:
    """P0: .4*1 + .25*.5 + .2/1.5 + .15 = .8083 against .4*.8 + ... = .7283; the cloud is no question"""
    world = World(place("phone", "L0", ttft=0.5), place("server", "L1", ttft=0.5), place("cloud", "L2", ttft=0.5))
    choice = world.decide("P0")
    assert totals(choice) == pytest.approx({"server": 0.8083, "phone": 0.7283}, abs=5e-5)
    assert dropped(choice) == {"cloud": "safety/tier"}


def test_4_masked_data_may_leave_but_rather_does_not() -> None:
    """P1, masked: .4*1 + .25*.5 + .2/2 + .15*1 = .775 against .4*.3 + .25*1 + .2/1.1 + .15*1 = .7018"""
    world = World(place("home", "L1", quality=0.5, ttft=1.0), place("cloud", "L2", quality=1.0, ttft=0.1))
    choice = world.decide("P1", tiers=7)
    assert choice.endpoint == "home"
    assert totals(choice) == pytest.approx({"home": 0.775, "cloud": 0.7018}, abs=5e-5)


def test_5_quality_decides_between_clouds() -> None:
    """.24 + .25*.95 + .2/1.3 + .15*.5 = .7063 against .24 + .25*.5 + .2/1.3 + .15 = .6688"""
    world = World(place("best", "L2", 2.0, quality=0.95, ttft=0.3), place("cheap", "L2", 1.0, quality=0.5, ttft=0.3))
    choice = world.decide()
    assert choice.endpoint == "best"
    assert totals(choice) == pytest.approx({"best": 0.7063, "cheap": 0.6688}, abs=5e-5)


def test_6_the_cheaper_of_equals() -> None:
    """Equal but for the price: .15*1 against .15*.5"""
    world = World(place("dear", "L2", 2.0, ttft=0.3), place("cheap", "L2", 1.0, ttft=0.3))
    choice = world.decide()
    assert choice.endpoint == "cheap"
    numbers = totals(choice)
    assert numbers["cheap"] - numbers["dear"] == pytest.approx(0.075)


def test_7_cheapest_of_those_that_are_left_not_of_all() -> None:
    """The cheapest is out, so the next one's cost is 1 and not 1/3."""
    world = World(
        place("gone", "L1", 1.0, ttft=0.5), place("next", "L1", 3.0, ttft=0.5), place("dear", "L1", 6.0, ttft=0.5)
    )
    choice = world.set("out_until", gone=world.clock.monotonic() + 5).decide()
    assert {one.endpoint: one.cost for one in choice.scored} == {"next": 1.0, "dear": 0.5}
    assert dropped(choice) == {"gone": "performance/out"}


def test_8_free_and_paid() -> None:
    """Free: 1. The cheapest paid, 2: 2/(2+2) = .5. Three times that, 6: 2/(6+2) = .25"""
    world = World(place("free", "L1", 0.0), place("paid", "L1", 2.0), place("dear", "L1", 6.0))
    assert {one.endpoint: one.cost for one in world.decide().scored} == {"free": 1.0, "paid": 0.5, "dear": 0.25}


def test_9_what_nobody_priced() -> None:
    """At home it is free; in a cloud as dear as the dearest known: free 1, 2 -> .5, unknown -> .5"""
    world = World(place("home", "L1", None), place("cloud", "L2", 2.0), place("mystery", "L2", None, quality=0.6))
    assert {one.endpoint: one.cost for one in world.decide().scored} == {"home": 1.0, "cloud": 0.5, "mystery": 0.5}


def test_10_only_who_declares_it() -> None:
    """Tools: the small one declares them; the better one declares that it has none, the third says nothing."""
    world = World(
        place("small", "L1", quality=0.3, supports=("tools",)),
        place("better", "L1", quality=0.9, supports=("vision",)),
        place("silent", "L1", quality=0.8),
    )
    choice = world.decide(wants=("tools",))
    assert choice.endpoint == "small"
    assert dropped(choice) == {"better": "capability/lacks_tools", "silent": "capability/undeclared"}
    assert world.decide().endpoint == "better"


def test_11_where_nobody_declares_it_those_that_say_nothing_are_asked() -> None:
    """fit .5: .4 + .25*.8*.5 + .2/(1+.5) + .15"""
    world = World(
        place("silent", "L1", quality=0.8, ttft=0.5), place("plain", "L1", quality=0.9, supports=(), ttft=0.5)
    )
    choice = world.decide(wants=("tools",))
    assert choice.endpoint == "silent"
    assert dropped(choice) == {"plain": "capability/lacks_tools"}


def test_12_a_context_that_is_nearly_full_fits_less() -> None:
    """Need 400. Of 400 all is taken: fit .5; of 10,000 little: fit 1. .25*.9*.5 = .1125 against .25*.5 = .125"""
    world = World(place("tight", "L1", quality=0.9, context=400), place("roomy", "L1", quality=0.5, context=10_000))
    choice = world.decide()
    assert choice.endpoint == "roomy"
    fits = {one.endpoint: one.capability for one in choice.scored}
    assert fits == pytest.approx({"tight": 0.45, "roomy": 0.5})


def test_13_a_context_that_is_too_small_is_out() -> None:
    world = World(place("small", "L1", context=350), place("large", "L2", context=100_000))
    choice = world.decide()
    assert choice.endpoint == "large"
    assert dropped(choice) == {"small": "capability/context"}


def test_14_a_long_prompt_goes_to_those_that_declare_the_room() -> None:
    world = World(place("silent", "L1", quality=1.0), place("long", "L2", quality=0.1, context=200_000))
    assert world.decide().endpoint == "silent"
    choice = world.decide(prompt=60_000)
    assert choice.endpoint == "long"
    assert dropped(choice) == {"silent": "capability/context_undeclared"}


def test_15_language_is_a_matter_of_degree() -> None:
    """zh: .25*.8*.5 = .10 against .25*.6 = .15"""
    world = World(
        place("english", "L1", quality=0.8, languages=("en",)),
        place("both", "L1", quality=0.6, languages=("en", "zh-CN")),
    )
    assert world.decide(language="zh").endpoint == "both"
    assert world.decide(language="en").endpoint == "english"
    assert world.decide().endpoint == "english"


def test_16_the_ceiling_is_hard() -> None:
    routing = Routing(cost_ceiling=1.5)
    world = World(place("home", "L1", 2.0), place("cloud", "L2", 1.0), place("mystery", "L2", None), routing=routing)
    choice = world.decide()
    assert choice.endpoint == "cloud"
    assert dropped(choice) == {"home": "cost/over_ceiling", "mystery": "cost/no_price"}
    world.set("out_until", cloud=world.clock.monotonic() + 5)
    choice = world.decide()
    assert (choice.endpoint, choice.reason) == ("cloud", "panic")
    with pytest.raises(GatewayError) as caught:
        world.decide("P0")
    assert (caught.value.status, caught.value.code) == (403, "cost_ceiling")


def test_17_late_is_better_than_never() -> None:
    world = World(place("a", "L1", quality=0.5), place("b", "L1", quality=0.9)).set("ttft", a=20.0, b=40.0)
    choice = world.decide()
    assert choice.reason == "late"
    assert choice.endpoint == "b"  # .25*.9 + .2/41 against .25*.5 + .2/21


def test_a_spare_is_for_when_nobody_else_is_left() -> None:
    world = World(place("home", "L2", quality=0.1), place("spare", "L1", quality=1.0, weight=0))
    choice = world.decide()
    assert (choice.endpoint, dropped(choice)) == ("home", {"spare": "cost/spare"})
    assert world.decide(without=("home",)).endpoint == "spare"
    assert world.decide("P0").endpoint == "spare", "nobody else may have it"


def test_18_a_full_cache_is_avoided_while_its_word_is_fresh() -> None:
    world = World(place("full", "L1", quality=0.9), place("free", "L1", quality=0.5))
    now = world.clock.monotonic()
    world.set("kv_usage", full=0.99).set("sampled_at", full=now, free=now)
    assert dropped(world.decide()) == {"full": "performance/saturated"}
    world.clock.advance(5.1)
    assert dropped(world.decide()) == {"full": "performance/late"}, "busy still, and no longer full"
    world.clock.advance(60.0)
    assert world.decide().endpoint == "full"
