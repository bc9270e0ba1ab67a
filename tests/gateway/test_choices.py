"""Choices on a running gateway, through both doors: the best kind, declared capabilities, refusals that say what."""

from typing import Any

from backends.mock import Fault
from fastpath.route.trace import choices
from fastpath.settings import Endpoint, Model, Routing
from fastpath.settings.tenancy import ModelPrice
from loadtest.rig import Bench, Reply, post
from loadtest.rig.bench import Served, Upstream, make_settings

TEXT: dict[str, Any] = {"model": "llama", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4_000}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


class World:
    def __init__(self, served: Served, upstreams: dict[str, Upstream]) -> None:
        self.served = served
        self.upstreams = upstreams

    async def ask(self, *headers: tuple[str, str], path: str = "/v1/chat/completions", **more: Any) -> Reply:
        return await self.served.ask(post(TEXT | more, path, headers=list(headers)))

    async def goes_to(self, *headers: tuple[str, str], **more: Any) -> str:
        before = self.asked()
        reply = await self.ask(*headers, **more)
        assert reply.status == 200, reply.body
        after = self.asked()
        (name,) = [name for name in after if after[name] > before[name]]
        return name

    def asked(self) -> dict[str, int]:
        return {name: upstream.asked for name, upstream in self.upstreams.items()}

    async def told(self) -> Any:
        record = (await self.served.records.wait(len(self.served.records.all)))[-1]
        return choices(record)


async def world(bench: Bench, routing: Routing | None = None, **endpoints: dict[str, Any]) -> World:
    upstreams = {name: await bench.mock() for name in endpoints}
    made = tuple(Endpoint(url=upstreams[name].url, name=name, **facts) for name, facts in endpoints.items())
    settings = make_settings([Model(name="llama", endpoints=made)], routing=routing or Routing(), data_class="P2")
    return World(await bench.serve(settings), upstreams)


async def test_what_may_go_anywhere_stays_at_home_where_home_is_good(bench: Bench) -> None:
    here = await world(
        bench,
        cloud={"tier": "L2", "quality": 0.95, "ttft": 0.3, "price": ModelPrice(input=4.0, output=4.0), "weight": 1000},
        home={"tier": "L1", "quality": 0.8, "ttft": 0.5, "price": ModelPrice(input=1.0, output=1.0)},
    )
    assert [await here.goes_to() for _ in range(3)] == ["home"] * 3
    (choice,) = await here.told()
    assert (choice.endpoint, choice.reason, choice.strategy) == ("home", "score", "balanced")
    assert [one.endpoint for one in choice.scored] == ["cloud", "home"]


async def test_tools_pictures_and_schemas_go_where_they_are_declared(bench: Bench) -> None:
    here = await world(
        bench,
        plain={"tier": "L1", "quality": 1.0, "supports": ()},
        tools={"tier": "L1", "quality": 0.6, "supports": ("tools", "json_schema")},
        eyes={"tier": "L2", "quality": 0.5, "supports": ("vision",)},
    )
    assert await here.goes_to() == "plain"
    assert await here.goes_to(tools=TOOLS) == "tools"
    assert await here.goes_to(tools=[]) == "plain"
    assert await here.goes_to(response_format=SCHEMA) == "tools"
    assert await here.goes_to(response_format={"type": "json_object"}) == "tools"
    assert await here.goes_to(response_format={"type": "text"}) == "plain"
    parts = [{"type": "text", "text": 'say "image_url"'}, PICTURE]
    assert await here.goes_to(messages=[{"role": "user", "content": parts}]) == "eyes"
    assert await here.goes_to(messages=[{"role": "user", "content": parts[:1]}]) == "plain"
    assert (
        await here.goes_to(messages=[{"role": "user", "content": '"tools" "image_url" "response_format"'}]) == "plain"
    )


async def test_what_nobody_can_do_is_refused_in_words(bench: Bench) -> None:
    here = await world(bench, one={"tier": "L1", "supports": ("vision",), "context": 8_192})
    reply = await here.ask(tools=TOOLS)
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "unsupported_parameter", "tools")
    assert "tools" in reply.error["message"]
    reply = await here.ask(messages=[{"role": "user", "content": "word " * 20_000}])
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
    assert "8192" in reply.error["message"]
    assert here.asked() == {"one": 0}
    assert (await here.ask()).status == 200
    records = await here.served.records.wait(3)
    assert [(one.status, one.error, one.attempts) for one in records] == [
        (400, "unsupported_parameter", 0), (400, "context_length_exceeded", 0), (200, None, 1),
    ]  # fmt: skip


async def test_a_retry_goes_to_the_next_best_that_can(bench: Bench) -> None:
    from backends.mock import Fault

    here = await world(
        bench,
        best={"tier": "L1", "quality": 1.0, "supports": ("tools",)},
        blind={"tier": "L1", "quality": 0.9, "supports": ()},
        next={"tier": "L2", "quality": 0.5, "supports": ("tools",)},
    )
    here.upstreams["best"].script(Fault(status=500), times=1)
    assert (await here.ask(tools=TOOLS)).status == 200
    assert here.asked() == {"best": 1, "blind": 0, "next": 1}
    first, second = await here.told()
    assert (first.endpoint, second.endpoint, second.reason) == ("best", "next", "overflow")
    assert {one.endpoint: one.reason for one in second.dropped} == {"best": "failed_before", "blind": "lacks_tools"}
    here.upstreams["best"].script(Fault(status=500), times=1)
    here.upstreams["next"].script(Fault(status=500), times=1)
    reply = await here.ask(tools=TOOLS)
    assert (reply.status, reply.error["code"]) == (502, "upstream_error"), "what failed is told, not who could not"


async def test_a_caller_chooses_a_scenario_only_where_it_may(bench: Bench) -> None:
    endpoints: dict[str, Any] = {
        "quick": {"tier": "L1", "quality": 0.6, "ttft": 0.1},
        "clever": {"tier": "L1", "quality": 1.0, "ttft": 2.0},
    }
    code = ("x-fastpath-scenario", "code")
    here = await world(bench, Routing(scenario_header=True), **endpoints)
    assert await here.goes_to() == "quick"
    assert await here.goes_to(code) == "clever"
    assert await here.goes_to(("x-fastpath-scenario", "nonsense")) == "quick"
    strict = await world(bench, **endpoints)
    assert await strict.goes_to(code) == "quick"


async def test_replicas_of_one_kind_share_by_their_picker(bench: Bench) -> None:
    same: dict[str, Any] = {"tier": "L1", "supports": ("tools",)}
    here = await world(bench, a=same, b=same, cloud={"tier": "L2", "supports": ("tools",)})
    for _ in range(6):
        await here.ask(tools=TOOLS)
    assert here.asked() == {"a": 3, "b": 3, "cloud": 0}


async def test_another_model_takes_what_nobody_of_this_one_can(bench: Bench) -> None:
    blind, sighted = await bench.mock(), await bench.mock()
    models = [
        Model(name="llama", endpoints=(Endpoint(url=blind.url, name="blind", supports=()),), fallbacks=("seer",)),
        Model(name="seer", endpoints=(Endpoint(url=sighted.url, name="sighted", model="llama", supports=("vision",)),)),
    ]
    here = World(await bench.serve(make_settings(models)), {"blind": blind, "sighted": sighted})
    look = [{"role": "user", "content": [PICTURE]}]
    assert await here.goes_to() == "blind"
    assert await here.goes_to(messages=look) == "sighted"
    reply = await here.ask(messages=look)
    assert reply.header("x-fastpath-substitute") == "seer"
    reply = await here.ask(("x-fastpath-no-substitute", "1"), messages=look)
    assert (reply.status, reply.error["code"]) == (400, "unsupported_parameter")
    assert here.asked() == {"blind": 1, "sighted": 2}


async def test_who_failed_before_is_told_to_be_out(bench: Bench) -> None:
    here = await world(bench, home={"tier": "L1", "quality": 1.0}, cloud={"quality": 0.1})
    here.upstreams["home"].script(Fault(status=500))
    while here.upstreams["home"].asked < 5:
        assert (await here.ask()).status == 200
    assert await here.goes_to() == "cloud"
    (choice,) = await here.told()
    assert {one.endpoint: (one.step, one.reason) for one in choice.dropped} == {"home": ("performance", "out")}
