"""Sixty situations with the endpoint that a person would want, and why: the first column is the label.

One pool serves them all: phone (a user's terminal), rack (small, cheap), farm (larger, declares tools and schemas), eu
and us (clouds; us is the best and dearest, and sees), cheap (a cloud that is slow and costs little).
"""

from typing import Any

import msgspec

from fastpath.settings import Endpoint, Routing
from tests.route.lineups import World, place


class Case(msgspec.Struct, frozen=True):
    label: str
    why: str
    ask: dict[str, Any] = {}
    live: dict[str, dict[str, float]] = {}
    strategy: str = "balanced"
    scenario: str | None = None
    ceiling: float | None = None


SEEN = ("tools", "json_schema", "vision", "reasoning")
POOL: tuple[Endpoint, ...] = (
    place("phone", "L0", 0.0, quality=0.3, ttft=0.8, context=4_096, supports=()),
    place("rack", "L1", 1.0, quality=0.6, ttft=0.5, context=32_768, supports=("tools",)),
    place("farm", "L1", 3.0, quality=0.85, ttft=0.7, context=65_536, supports=("tools", "json_schema")),
    place("eu", "L2", 6.0, quality=0.9, ttft=0.4, context=131_072, supports=("tools", "json_schema", "reasoning")),
    place("us", "L2", 10.0, quality=1.0, ttft=0.2, context=200_000, supports=SEEN),
    place("cheap", "L2", 0.8, quality=0.5, ttft=3.0, context=131_072, supports=("tools", "json_schema")),
)
PINNED = {"strategy": "pinned", "pin": "farm"}
T, S, V, R = {"wants": ("tools",)}, {"wants": ("json_schema",)}, {"wants": ("vision",)}, {"wants": ("reasoning",)}
LONG, HUGE, BOOK = {"prompt": 40_000}, {"prompt": 100_000}, {"prompt": 150_000}
OUT, SLOW, FULL = 1e9, 30.0, 1.0


def p(level: str, **more: Any) -> dict[str, Any]:
    return {"data_class": level, **more}


def out(*names: str) -> dict[str, dict[str, float]]:
    return {"out_until": dict.fromkeys(names, OUT)}


def slow(*names: str) -> dict[str, dict[str, float]]:
    return {"ttft": dict.fromkeys(names, SLOW)}


def full(*names: str) -> dict[str, dict[str, float]]:
    return {"kv_usage": dict.fromkeys(names, FULL), "sampled_at": dict.fromkeys(names, 1_000.0)}


def waits(*names: str) -> dict[str, dict[str, float]]:
    return {"queued": dict.fromkeys(names, 5e9)}


LOCAL = ("phone", "rack", "farm")
CASES = (
    Case("farm", "at home: .4+.2125+.1176+.0316=.7617; rack .75, phone .7361, us .6687"),
    Case("rack", "tools: the phone has none, the cheapest at home has", T),
    Case("farm", "a schema: who declares it, at home", S),
    Case("us", "a picture: one alone sees", V),
    Case("eu", "reasoning: the cheaper of two clouds", R),
    Case("farm", "sensitive, the better server: .4+.2125+.1176+.0375=.7676; rack .7583, phone .6561", p("P0")),
    Case("rack", "personal: at home; the phone is as safe and free, 4,096 tokens are few", p("P1", prompt=4_000)),
    Case("farm", "sensitive and a schema", p("P0", **S)),
    Case("rack", "sensitive and tools", p("P0", **T)),
    Case("farm", "personal, short and simple: .7676 to the rack's .7583 and the phone's .7361", p("P1")),
    Case("rack", "too long for the phone", {"prompt": 5_000}),
    Case("farm", "too long for phone and rack", LONG),
    Case("farm", "sensitive and long", p("P0", **LONG)),
    Case("us", "longer than anything at home: .24+.25+.1667+.012=.6687; eu .62, cheap .56", HUGE),
    Case("us", "a book: one alone has the room", BOOK),
    Case("us", "a long picture", {**V, **HUGE}),
    Case("eu", "long and reasoning", {**R, **HUGE}),
    Case("rack", "the phone is out", live=out("phone")),
    Case("farm", "phone and rack are out", live=out("phone", "rack")),
    Case("us", "home is out: the best of the clouds for what it costs", live=out(*LOCAL, "cheap", "eu")),
    Case("eu", "home is out, so is the best", live=out(*LOCAL, "us", "cheap")),
    Case("farm", "tools, the rack is out: still at home", T, out("rack")),
    Case("eu", "a schema, the farm is out", S, out("farm", "cheap", "us")),
    Case("rack", "sensitive, the farm is out: .4+.15+.1333+.075; the phone .6561", p("P0"), out("farm")),
    Case("phone", "sensitive, both servers are out", p("P0"), out("rack", "farm")),
    Case("rack", "sensitive, all at home are out: rather try them than send it away", p("P0", **T), out(*LOCAL)),
    Case("farm", "sensitive, a schema, all at home are out", p("P0", **S), out(*LOCAL)),
    Case("rack", "the phone is past its deadline", live=slow("phone")),
    Case("farm", "phone and rack are past it", live=slow("phone", "rack")),
    Case("us", "home is past it", live={**slow(*LOCAL), **out("eu", "cheap")}),
    Case("farm", "sensitive, home is past it: late rather than never, .6565 to .6315", p("P0"), slow(*LOCAL)),
    Case("rack", "the phone is full", live=full("phone")),
    Case("farm", "tools, the rack is full", T, full("rack")),
    Case("farm", "everybody is full: as if nobody were", live=full(*LOCAL, "eu", "us", "cheap")),
    Case("farm", "one is full, one out, one late at home; tools", T, {**full("rack"), **out("phone")}),
    Case("phone", "cost first: free", strategy="cost_first"),
    Case("cheap", "cost first, tools: .09+.05+.0125+.7=.8525; rack .15+.06+.0333+.56=.8033", T, strategy="cost_first"),
    Case("rack", "cost first, sensitive tools", p("P0", **T), strategy="cost_first"),
    Case("cheap", "cost first, a schema", S, strategy="cost_first"),
    Case("us", "quickest first: .2 s", T, strategy="latency_first"),
    Case("rack", "quickest, us is out: .1 s is not worth leaving", T, out("us"), strategy="latency_first"),
    Case("rack", "quickest first, sensitive", p("P0"), strategy="latency_first"),
    Case("us", "best first", T, strategy="quality_first"),
    Case("farm", "best first, must stay", p("P1"), strategy="quality_first"),
    Case("eu", "best first, us is out, tools", {**T}, out("us", "farm"), strategy="quality_first"),
    Case("phone", "local first", strategy="local_first"),
    Case("rack", "local first, tools", T, strategy="local_first"),
    Case("us", "local first, too much waits at home", T, {**waits(*LOCAL), **out("eu", "cheap")}, "local_first"),
    Case("farm", "local first, too much waits at the rack alone", T, waits("rack"), "local_first"),
    Case("rack", "local first, too much waits, but it must stay", p("P0", **T), waits("farm"), "local_first"),
    Case("us", "local first, nobody at home sees", V, strategy="local_first"),
    Case("farm", "pinned", strategy="pinned"),
    Case("farm", "pinned, though it is out", live=out("farm"), strategy="pinned"),
    Case("farm", "pinned, though it is slow", live=slow("farm"), strategy="pinned"),
    Case("rack", "chat with tools: quick and at home", T, scenario="chat"),
    Case("us", "chat with tools where the servers crawl", T, {"ttft": {"rack": 4.0, "farm": 4.0}}, scenario="chat"),
    Case("rack", "documents with tools: cheap, at home, no hurry", T, {"ttft": {"rack": 9.0}}, scenario="documents"),
    Case("farm", "code with a schema: good, at home", S, scenario="code"),
    Case("eu", "a ceiling of 7, and reasoning", R, ceiling=7.0),
    Case("rack", "a ceiling of 2, and tools", T, ceiling=2.0),
)  # fmt: skip


def world_of(case: Case) -> World:
    model: dict[str, Any] = PINNED if case.strategy == "pinned" else {"strategy": case.strategy}
    world = World(*POOL, routing=Routing(cost_ceiling=case.ceiling), scenario=case.scenario, **model)
    for column, values in case.live.items():
        world.set(column, **values)
    return world
