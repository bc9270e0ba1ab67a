"""A thousand generated models, each chosen from by the engine and by a plain reading of the text (`plain_choice`)."""

from random import Random

import pytest
from msgspec.structs import replace

from fastpath.errors import GatewayError
from fastpath.settings import Routing
from scheduler.predict import predict_ttft
from tests.route.lineups import ANSWER, World, place, totals
from tests.route.plain_choice import Need, Place, best

SLO, DEADLINE = 1.0, 10.0
SUPPORTS = (None, None, frozenset(), frozenset({"tools"}), frozenset({"vision"}), frozenset({"tools", "vision"}))
WANTS = (frozenset[str](), frozenset({"tools"}), frozenset({"tools", "vision"}))


def places(random: Random) -> list[Place]:
    return [
        Place(
            tier=random.choice(["L0", "L1", "L1", "L2", "L2"]),
            quality=random.choice([0.0, 0.3, 0.5, 0.8, 0.95, 1.0]),
            ttft=random.choice([0.01, 0.2, 0.5, 2.0, 9.9, 10.1, 30.0]),
            price=random.choice([None, 0.0, 0.5, 1.0, 4.0, 20.0]),
            context=random.choice([None, None, 1_000, 8_192, 50_000, 200_000]),
            supports=random.choice(SUPPORTS),
            languages=random.choice([None, None, frozenset({"en"}), frozenset({"zh"})]),
            out=random.random() < 0.1,
            full=random.random() < 0.1,
        )
        for _ in range(random.randint(1, 10))
    ]


def world_of(places_: list[Place], ceiling: float | None) -> World:
    endpoints = [
        place(
            f"e{i}", one.tier, one.price, quality=one.quality, ttft=one.ttft, context=one.context,
            supports=None if one.supports is None else tuple(sorted(one.supports)),
            languages=None if one.languages is None else tuple(one.languages),
            chip=f"c{i}",  # so that each is a kind of its own
        )
        for i, one in enumerate(places_)
    ]  # fmt: skip
    routing = Routing(ttft_slo=SLO, deadline=DEADLINE, cost_ceiling=ceiling)
    world = World(*endpoints, routing=routing)
    now = world.clock.monotonic()
    for i, one in enumerate(places_):
        world.set("out_until", **{f"e{i}": now + 1 if one.out else 0.0})
        world.set("kv_usage", **{f"e{i}": 1.0 if one.full else 0.1}).set("sampled_at", **{f"e{i}": now})
    return world


def predicted(world: World, place: int, prompt: int) -> float:
    """When the first token is to be expected, which is not the score's own to say."""
    return predict_ttft(world.table, world.slot(f"e{place}"), prompt, world.clock.monotonic())


@pytest.mark.parametrize("hundred", range(10))
def test_the_engine_chooses_as_the_text_says(hundred: int) -> None:
    served = refused = 0
    for seed in range(hundred * 100, hundred * 100 + 100):
        random = Random(seed)
        told, ceiling = places(random), random.choice([None, None, 4.0])
        need = Need(
            data_class=random.choice(["P0", "P1", "P2", "P2"]),
            masked=random.random() < 0.3,
            tokens=random.choice([500, 900, 7_000, 40_000, 150_000]) + ANSWER,
            wants=random.choice(WANTS),
            language=random.choice([None, "zh"]),
        )
        world = world_of(told, ceiling)
        told = [replace(one, ttft=predicted(world, i, need.tokens - ANSWER)) for i, one in enumerate(told)]
        right = best(need, told, SLO, DEADLINE, float("inf") if ceiling is None else ceiling)
        if world.route.lineup is None or not any(one.tier != "L2" or need.data_class == "P2" for one in told):
            continue
        tiers = 7 if need.data_class == "P2" or (need.data_class == "P1" and need.masked) else 3
        try:
            choice = world.decide(
                need.data_class,
                wants=tuple(need.wants),
                prompt=need.tokens - ANSWER,
                language=need.language,
                tiers=tiers,
            )
        except GatewayError as error:
            # a context is an estimate: the plain reading refuses at once, the engine only what is twice too much
            choice, why = None, error.message
        if choice is None:
            assert not right, (seed, why)
            refused += 1
            continue
        if not right:
            assert all(one.reason != "context" for one in choice.dropped if one.endpoint == choice.endpoint)
            continue
        served += 1
        name = f"e{max(right, key=lambda i: right[i])}"
        assert right[int(choice.endpoint[1:])] == pytest.approx(max(right.values()), abs=1e-9), (seed, name)
        if len(right) > 1:
            assert totals(choice) == pytest.approx({f"e{i}": total for i, total in right.items()}, abs=1e-9), seed
    assert served >= 60
    assert refused >= 1
