"""What is written down of a choice makes the same choice again: after other choices, in bytes, and not by accident."""

from random import Random

import msgspec
import pytest
from msgspec.structs import replace

from fastpath.route.extensions import Extensions
from fastpath.route.trace import Inputs, choices, inputs, replay
from tests.route.lineups import World, place


def world() -> World:
    return World(
        place("a", "L1", 1.0, quality=0.6, supports=("tools",), throughput=2_000.0),
        place("a2", "L1", 1.0, quality=0.6, supports=("tools",), throughput=2_000.0),
        place("b", "L1", 2.0, quality=0.9, throughput=2_000.0),
        place("c", "L2", 4.0, quality=1.0, supports=("tools", "vision"), context=100_000),
        place("d", "L2", None, quality=0.9, languages=("zh",)),
        strategy="local_first",
    )


@pytest.mark.parametrize("seed", range(40))
def test_a_record_decides_the_same_again(seed: int) -> None:
    here, random = world(), Random(seed)
    kept = []
    for _ in range(25):
        now = here.clock.monotonic()
        for name in ("a", "a2", "b", "c", "d"):
            here.set("queued", **{name: random.choice([0.0, 3_000.0, 9_000.0])})
            here.set("out_until", **{name: random.choice([0.0, 0.0, now + 3])})
            here.set("ttft", **{name: random.choice([0.1, 5.0, 40.0])})
        told = here.decide(
            random.choice(["P0", "P1", "P2"]),
            wants=random.choice([(), ("tools",)]),
            language=random.choice([None, "zh"]),
            prompt=random.choice([10, 5_000]),
        )
        (trace,) = here.ctx.record.choices
        kept.append((told, here.ctx.record, msgspec.msgpack.encode(inputs(trace))))
        here.clock.advance(random.choice([0.1, 5.0]))
    state = here.route.lineup.pool.overflowing if here.route.lineup is not None else None
    for told, record, data in kept:
        assert choices(record) == (told,)
        assert replay(msgspec.msgpack.decode(data, type=Inputs)) == told
    assert here.route.lineup is not None
    assert here.route.lineup.pool.overflowing == state, "telling changes nothing"


def test_a_record_that_was_changed_names_nobody() -> None:
    here = world()
    here.decide()
    kept = inputs(here.ctx.record.choices[0])
    told = replay(kept)
    others = [number for number, name in enumerate(kept.names) if name not in (told.endpoint, "a", "a2")]
    assert told.endpoint is not None
    assert replay(replace(kept, chosen=others[0])).endpoint is None


def test_what_an_extension_added_is_kept() -> None:
    here = World(place("a", quality=0.9), place("b", quality=0.5))
    assert here.route.lineup is not None
    here.route.lineup.extensions = Extensions([("x", 0.5, lambda r, c: [float(one.name == "b") for one in c])])
    assert here.decide().endpoint == "b"
    kept = inputs(here.ctx.record.choices[0])
    assert kept.extra == (0.0, 0.5)
    assert replay(kept).endpoint == "b"
    assert replay(replace(kept, extra=None)).endpoint is None, "without it another kind would have been taken"


def test_replicas_that_all_can_leave_no_trace() -> None:
    here = World(place("a", supports=("tools",)), place("b", supports=("tools",)))
    assert here.decide(wants=("tools",)).reason == "alike"
    assert here.ctx.record.choices is None


def test_a_model_whose_endpoints_are_alike_has_no_lineup() -> None:
    assert World(place("a"), place("b"), place("c")).route.lineup is None
    assert World(place("a"), place("b", version="2", model="other")).route.lineup is None, "a canary keeps its weight"
    for facts in ({"tier": "L2"}, {"quality": 0.6}, {"region": "eu"}, {"chip": "h100"}, {"ttft": 1.0}, {"price": 2.0}):
        assert World(place("a"), place("b", **facts)).route.lineup is not None, facts
    for facts in ({"supports": ()}, {"context": 8_192}):
        assert World(place("a", **facts), place("b", **facts)).route.lineup is not None, facts
