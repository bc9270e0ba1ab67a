"""Another model for a request whose own has nobody left: who answers, what each is sent, who is told, what it costs.

Three models at three providers: each knows its own key and its own name of the model, and nothing of the others'.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from backends.mock import Fault
from backends.mock.record import fingerprint
from fastpath.limits.stage import limit
from fastpath.money.reserve import TEMPLATE_MOST
from fastpath.settings import Endpoint, Key, Model, Policy, Retries
from fastpath.settings.pepper import make_pepper
from fastpath.settings.secret import Secret
from fastpath.settings.tenancy import Budget, Limit, ModelClamp, ModelPrice
from fastpath.settings.token import KeyHasher, new_token
from loadtest.rig import Bench, Reply, assert_complete, assert_refused, post
from loadtest.rig.bench import Served, make_settings

BODY: dict[str, Any] = {"max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}
NAMES = ("a", "b", "c")
DOWN = Fault(status=500)
SUBSTITUTE = "x-fastpath-substitute"
Open = Callable[..., Awaitable["World"]]


def canary(name: str) -> str:
    return f"sk-canary-{name * 16}"


class World:
    """A gateway before the three providers, with a caller's key."""

    def __init__(self, served: Served, upstreams: dict[str, Any], key: str) -> None:
        self.served = served
        self.upstreams = upstreams
        self.key = key

    async def ask(self, *headers: tuple[str, str], model: str = "a", **more: Any) -> Reply:
        sent = [("authorization", f"Bearer {self.key}"), *headers]
        return await self.served.ask(post({"model": model, **BODY, **more}, headers=sent))

    async def record(self) -> Any:
        return (await self.served.records.wait(len(self.served.records.all)))[-1]

    def asked(self) -> list[int]:
        return [upstream.asked for upstream in self.upstreams.values()]

    def counted(self, name: str) -> dict[Any, int]:
        return self.served.gateway.metrics.snapshot().counters.get(name, {})


@pytest.fixture
def open_world(bench: Bench, tmp_path: Path) -> Open:
    async def open_world(
        *, down: str = "", models: dict[str, dict[str, Any]] | None = None, key: Any = None, **rest: Any
    ) -> World:
        upstreams = {}
        for name in NAMES:
            upstreams[name] = await bench.mock(models=(f"{name}-own",), api_key=canary(name))
            if name in down:
                upstreams[name].script(DOWN)
        given: dict[str, dict[str, Any]] = {"a": {"fallbacks": ("b", "c")}} if models is None else models
        tiers: dict[str, Any] = {"a": "L2", "b": "L2", "c": "L1"}
        made = [
            Model(
                name=name,
                endpoints=(
                    Endpoint(
                        url=upstreams[name].url, model=f"{name}-own", api_key=Secret(canary(name)), tier=tiers[name],
                        name=f"at-{name}",
                    ),
                ),
                **given.get(name, {}),
            )
            for name in NAMES
        ]  # fmt: skip
        token = new_token().reveal()
        hash = KeyHasher(make_pepper(tmp_path / "state")).hash_text(token)
        keys = (Key(name="caller", hash=hash, **(key or {})),)
        settings = make_settings(made, keys=keys, state_dir=str(tmp_path / "state"), **({"data_class": "P2"} | rest))
        return World(await bench.serve(settings), upstreams, token)

    return open_world


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_third_answers_when_the_first_two_fail_and_hardly_later(open_world: Open, stream: bool) -> None:
    world = await open_world(down="ab")
    reply = await world.ask(stream=stream)
    assert_complete(reply, stream)
    assert reply.header(SUBSTITUTE) == "c"
    assert world.asked() == [1, 1, 1]
    record = await world.record()
    assert (record.model, record.endpoint, record.attempts, record.outcome) == ("c", "at-c", 3, "complete")
    assert record.failures == ["at-a status head", "at-b status head"]
    assert world.counted("fastpath_model_fallbacks_total") == {("a", "b"): 1, ("b", "c"): 1}
    assert world.counted("ai_inference_fallback_count") == {("c",): 1}


async def test_two_failures_cost_less_than_a_tenth_of_a_second(open_world: Open) -> None:
    """Nobody backs off before another provider. The median of several: a busy machine may be late once."""
    world, took = await open_world(down="ab", retries=Retries(budget_min=1_000)), []
    for _ in range(7):
        began = time.monotonic()
        assert (await world.ask()).status == 200
        took.append(time.monotonic() - began)
    assert sorted(took)[3] < 0.1


async def test_each_provider_sees_its_own_key_its_own_name_and_the_callers_body(open_world: Open) -> None:
    """Nothing of one attempt reaches the next: the key of A is never seen at B."""
    world = await open_world(down="ab")
    assert (await world.ask(stream=True, temperature=0.25, unknown_field={"kept": [1, 2]})).status == 200
    for name, upstream in world.upstreams.items():
        (seen,) = await upstream.server.wait_records(1)
        fields = dict(seen.headers)
        assert fields["authorization"] == fingerprint(f"Bearer {canary(name)}")
        assert seen.model == f"{name}-own"
    bodies = {name: (await upstream.server.wait_records(1))[0] for name, upstream in world.upstreams.items()}
    assert len({seen.body_length for seen in bodies.values()}) == 1, "the same body but for a name of the same length"


async def test_a_model_with_nobody_left_is_not_asked_again(open_world: Open) -> None:
    """Its breaker is open: requests begin with the fallback, and are no retries."""
    world = await open_world(down="a")
    for _ in range(5):
        assert (await world.ask()).status == 200
    before = world.asked()
    assert before == [5, 5, 0]
    for _ in range(5):
        reply = await world.ask()
        assert (reply.status, reply.header(SUBSTITUTE)) == (200, "b")
    assert world.asked() == [5, 10, 0]
    assert (await world.record()).attempts == 1
    assert world.counted("fastpath_panic_total") == {(): 0}


async def test_the_last_of_a_chain_failing_says_why(open_world: Open) -> None:
    world = await open_world(down="abc")
    assert_refused(await world.ask(), 502, "upstream_error")
    assert world.asked() == [1, 1, 1]


async def test_a_caller_that_wants_its_own_model_or_none_gets_none(open_world: Open) -> None:
    world = await open_world(down="a")
    assert_refused(await world.ask(("x-fastpath-no-substitute", "1")), 502, "upstream_error")
    assert world.asked() == [1, 0, 0]


async def test_a_key_falls_back_only_to_what_it_may_use(open_world: Open) -> None:
    world = await open_world(down="a", key={"models": ("a", "c")})
    reply = await world.ask()
    assert (reply.status, reply.header(SUBSTITUTE)) == (200, "c")
    assert world.asked() == [1, 0, 1]


async def test_policies_are_asked_again(open_world: Open) -> None:
    """What may go to one provider may not go to another."""
    rule = Policy(name="not-at-b", effect="deny", models=("b",))
    world = await open_world(down="a", policies=(rule,))
    assert (await world.ask()).header(SUBSTITUTE) == "c"
    assert world.asked() == [1, 0, 1]


async def test_a_policy_over_tiers_holds_for_the_fallback_too(open_world: Open) -> None:
    rule = Policy(name="stay-home", effect="deny", tiers=("L2",))
    world = await open_world(models={"c": {"fallbacks": ("a", "b")}}, down="c", policies=(rule,))
    assert_refused(await world.ask(model="c"), 502, "upstream_error")
    assert world.asked() == [0, 0, 1]


async def test_the_model_that_answers_is_paid_and_nothing_else(open_world: Open) -> None:
    prices = {name: ModelPrice(input=cost, output=cost) for name, cost in zip(NAMES, (100.0, 200.0, 1.0), strict=True)}
    models = {name: {"price": price} for name, price in prices.items()}
    models["a"]["fallbacks"] = ("b", "c")  # type: ignore[assignment]  # one Struct's fields
    world = await open_world(down="ab", models=models)
    reply = await world.ask()
    record = await world.record()
    assert record.input_tokens
    assert record.output_tokens
    assert record.cost_nano == (record.input_tokens + record.output_tokens) * 1_000
    assert reply.header("x-fastpath-cost") is not None


async def test_a_budget_that_cannot_hold_the_fallback_passes_it_over(open_world: Open) -> None:
    """What is set aside is set aside anew: the dear one is passed over, and the next one is not."""
    models = {
        "a": {"price": ModelPrice(input=1.0, output=1.0), "fallbacks": ("b", "c")},
        "b": {"price": ModelPrice(input=1e6, output=1e6)},
        "c": {"price": ModelPrice(input=1.0, output=1.0)},
    }
    world = await open_world(down="a", models=models, key={"budgets": (Budget(amount=1.0),)})
    reply = await world.ask()
    assert (reply.status, reply.header(SUBSTITUTE)) == (200, "c")
    assert world.asked() == [1, 0, 1]


async def test_a_place_under_a_limit_moves_with_the_request(open_world: Open) -> None:
    """A caller that may run one request at a time falls back, and has its place again afterwards."""
    world = await open_world(down="ab", key={"limits": (Limit(count="concurrency", most=1),)})
    for _ in range(5):
        reply = await world.ask()
        assert (reply.status, reply.header(SUBSTITUTE)) == (200, "c")


#: More than the worst case of one request, whose prompt is held as so many tokens and its bytes, and less than of two.
ONE = int(1.5 * TEMPLATE_MOST)
ONE_AT_A_TIME = {
    "money": (Budget(amount=ONE / 1e6), {"price": ModelPrice(input=1.0, output=1.0)}),
    "tokens": (Budget(tokens=ONE), {}),
}


def spent(world: World, model: str = "a") -> tuple[int, int]:
    """Of the caller's budget: what was spent, and what running requests hold of it."""
    app = world.served.gateway.app
    desk: Any = app._pipeline.snapshot.desk if app is not None else None
    spent, held = desk.standing("caller", model).plan.limiter.committed(0)[:2]
    return spent, held


def with_chain(more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: more | ({"fallbacks": ("b", "c")} if name == "a" else {}) for name in NAMES}


@pytest.mark.parametrize("kind", ONE_AT_A_TIME)
async def test_what_is_held_for_one_model_is_not_counted_against_the_next(open_world: Open, kind: str) -> None:
    """A budget that holds one worst case and not two is enough for a whole chain, and holds nothing afterwards."""
    budget, more = ONE_AT_A_TIME[kind]
    world = await open_world(down="ab", models=with_chain(more), key={"budgets": (budget,)})
    reply = await world.ask()
    assert (reply.status, reply.header(SUBSTITUTE)) == (200, "c")
    assert world.asked() == [1, 1, 1]
    record = await world.record()
    cost = record.cost_nano if kind == "money" else record.input_tokens + record.output_tokens
    assert cost
    assert spent(world) == (cost, 0)


@pytest.mark.parametrize("kind", ONE_AT_A_TIME)
async def test_many_that_fall_back_at_once_hold_no_more_than_there_is(open_world: Open, kind: str) -> None:
    """While the last of the chain takes its time: one request holds the budget, whichever models it went through."""
    budget, more = ONE_AT_A_TIME[kind]
    world = await open_world(down="ab", models=with_chain(more), key={"budgets": (budget,)})
    world.upstreams["c"].script(Fault(ttft=0.5))
    replies = await asyncio.gather(*(world.ask() for _ in range(16)))
    assert sorted(reply.status for reply in replies) == [200] + [429] * 15
    assert world.asked() == [1, 1, 1]
    assert spent(world)[1] == 0


async def test_who_lost_its_place_while_it_looked_elsewhere_is_not_answered_beyond_the_budget(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own endpoint is out, the fallback is too dear, and a request of another worker takes what was given back."""
    models = with_chain({"price": ModelPrice(input=1.0, output=1.0)})
    models["b"] = models["c"] = {"price": ModelPrice(input=1e6, output=1e6)}
    world = await open_world(down="a", models=models, key={"budgets": (Budget(amount=ONE / 1e6),)})
    for _ in range(5):
        assert_refused(await world.ask(), 502, "upstream_error")
    world.upstreams["a"].script()
    reply = await world.ask()
    assert (reply.status, reply.header(SUBSTITUTE)) == (200, None), "all are out, so its own is asked all the same"
    before = world.asked()
    taken: list[Any] = []

    def take_first(ctx: Any, runtime: Any) -> None:
        if not taken:
            desk = ctx.snapshot.desk
            standing = desk.standing("caller", "a")
            taken.append(desk.admit(standing, runtime.clock.monotonic(), ctx.record.ts, 0, 0, standing_rest(standing)))
        limit(ctx, runtime)

    def standing_rest(standing: Any) -> int:
        committed: int = sum(standing.plan.limiter.committed(0)[:2])
        return ONE * 1_000 - committed

    monkeypatch.setattr("fastpath.route.fallback.limit", take_first)
    assert_refused(await world.ask(), 429, "insufficient_quota")
    assert world.asked() == before
    assert len(taken) == 1


async def test_limits_of_the_fallback_hold_for_those_who_come_from_elsewhere(open_world: Open) -> None:
    models = {"a": {"fallbacks": ("b", "c")}, "b": {"limits": (Limit(count="requests", most=1, per="hour"),)}}
    world = await open_world(down="a", models=models)
    found = [(await world.ask()).header(SUBSTITUTE) for _ in range(3)]
    assert found == ["b", "c", "c"]


async def test_a_clamp_is_that_of_the_model_that_answers(open_world: Open) -> None:
    models = {"a": {"clamp": ModelClamp(max_tokens=3), "fallbacks": ("b",)}, "b": {"clamp": ModelClamp(max_tokens=2)}}
    world = await open_world(down="a", models=models)
    reply = await world.ask(max_tokens=9)
    assert reply.header("x-fastpath-clamped") == "max_tokens=2"
    assert (await world.record()).clamped == "max_tokens=2"
    assert (await world.record()).output_tokens == 2


async def test_substitutes_come_after_fallbacks(open_world: Open) -> None:
    world = await open_world(down="a", models={"a": {"substitutes": ("b",), "fallbacks": ("c",)}})
    assert (await world.ask()).header(SUBSTITUTE) == "c"
    world.upstreams["c"].script(DOWN)
    assert (await world.ask()).header(SUBSTITUTE) == "b"


async def test_chains_are_not_followed_further(open_world: Open) -> None:
    world = await open_world(down="ab", models={"a": {"fallbacks": ("b",)}, "b": {"fallbacks": ("c",)}})
    assert_refused(await world.ask(), 502, "upstream_error")
    assert world.asked() == [1, 1, 0]


async def test_no_other_model_once_the_caller_was_told_that_this_one_answers(open_world: Open) -> None:
    """The head is out (comments went ahead of the first token): it named nobody, so nobody else answers."""
    world = await open_world(timeouts={"comment_after": 0.1, "first_byte": 0.4})
    world.upstreams["a"].script(Fault(stall_after="head"))
    reply = await world.ask(stream=True)
    assert reply.status == 200
    assert reply.in_band is not None
    assert world.asked() == [1, 0, 0]


async def test_nothing_is_left_over(open_world: Open, quiet: Any) -> None:
    world = await open_world(down="ab")
    await asyncio.gather(*(world.ask(stream=n % 2 == 0) for n in range(20)))
    await quiet(world.served).wait()


async def test_a_replica_is_tried_before_another_model_and_the_last_try_is_anothers(bench: Bench) -> None:
    replicas = [await bench.mock() for _ in range(3)]
    for replica in replicas:
        replica.script(DOWN)
    other = await bench.mock(models=("other",))
    endpoints = tuple(Endpoint(url=one.url, tier="L1", weight=1000 ** (2 - i)) for i, one in enumerate(replicas))
    models = [
        Model(name="llama", endpoints=endpoints, fallbacks=("other",)),
        Model(name="other", endpoints=(Endpoint(url=other.url, tier="L1"),)),
    ]
    served = await bench.serve(make_settings(models))
    reply = await served.ask(post({"model": "llama", **BODY}))
    assert (reply.status, reply.header(SUBSTITUTE)) == (200, "other")
    assert [one.asked for one in (*replicas, other)] == [1, 1, 0, 1]
