"""Policies on a running gateway, through both doors: refusals in both dialects, tiers over retries, moving clocks."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from backends.mock import Fault
from fastpath.app import Gateway
from fastpath.settings import Conditions, Endpoint, Key, Model, Policy, Settings, TimeWindow
from fastpath.settings.pepper import make_pepper
from fastpath.settings.tenancy import Budget, ModelPrice, Team, Tenant, Threshold, User
from fastpath.settings.token import KeyHasher, new_token
from loadtest.rig import Bench, Reply, post
from loadtest.rig.bench import RecordList, Served, Upstream, make_settings
from scheduler.clock import SystemClock

BODY = {"model": "llama", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
Open = Callable[..., Awaitable["World"]]


class World:
    """A gateway before one mock server for each tier that is asked for, with a key of acme/core/ann."""

    def __init__(self, served: Served, upstreams: dict[str, Upstream], key: str) -> None:
        self.served = served
        self.upstreams = upstreams
        self.key = key

    async def ask(self, *headers: tuple[str, str], path: str = "/v1/chat/completions", **more: Any) -> Reply:
        sent = [("authorization", f"Bearer {self.key}"), *headers]
        return await self.served.ask(post(BODY | more, path, headers=sent))

    async def record(self) -> Any:
        return (await self.served.records.wait(len(self.served.records.all)))[-1]

    def asked(self) -> dict[str, int]:
        return {tier: upstream.asked for tier, upstream in self.upstreams.items()}


@pytest.fixture
def open_world(bench: Bench, tmp_path: Path) -> Open:
    async def open_world(
        *policies: Policy, tiers: tuple[str, ...] = ("L1",), budgets: tuple[Budget, ...] = (), **more: Any
    ) -> World:
        upstreams = {tier: await bench.mock(models=("llama", "mini")) for tier in tiers}
        token = new_token().reveal()
        hash = KeyHasher(make_pepper(tmp_path / "state")).hash_text(token)
        endpoints: Any = [
            Endpoint(url=upstream.url, tier=tier, name=tier, weight=1000 ** (len(tiers) - n))  # type: ignore[arg-type]  # one of the three
            for n, (tier, upstream) in enumerate(upstreams.items())
        ]
        price = ModelPrice(input=1.0, output=1.0)
        acme = Tenant(name="acme", teams=(Team(name="core"),), users=(User(name="ann", team="core"),))
        settings = make_settings(
            [
                Model(name="llama", endpoints=tuple(endpoints), price=price),
                Model(name="mini", endpoints=tuple(endpoints)),
            ],
            keys=(Key(name="laptop", hash=hash, tenant="acme", user="ann", budgets=budgets),),
            tenants=(acme,),
            policies=policies,
            state_dir=str(tmp_path / "state"),
            **more,
        )
        return World(await bench.serve(settings), upstreams, token)

    return open_world


async def test_a_refusal_reads_the_same_whatever_the_rule_is(open_world: Open) -> None:
    world = await open_world(
        Policy(name="secret-of-umbrella", effect="deny", models=("llama",), subjects=("team:core",)),
        Policy(name="no-embeddings", effect="deny", paths=("/v1/embeddings",)),
    )
    replies = [
        await world.ask(),
        await world.ask(stream=True),
        await world.ask(path="/v1/embeddings", model="mini", input="x"),
    ]
    assert [reply.status for reply in replies] == [403, 403, 403]
    assert {reply.body for reply in replies} == {replies[0].body}
    assert replies[0].error["code"] == "policy_blocked"
    assert replies[0].error["type"] == "permission_error"
    assert replies[0].error["param"] is None
    for word in ("umbrella", "core", "embeddings", "laptop"):
        assert word not in replies[0].body.decode() + repr(replies[0].headers)
    assert world.asked() == {"L1": 0}
    records = await world.served.records.wait(3)
    assert [(one.error, one.policy) for one in records] == [
        ("policy_blocked", "secret-of-umbrella"),
        ("policy_blocked", "secret-of-umbrella"),
        ("policy_blocked", "no-embeddings"),
    ]
    assert [(one.status, one.outcome, one.attempts) for one in records] == [(403, "refused", 0)] * 3
    assert (await world.ask(model="mini")).status == 200


async def test_the_messages_dialect_has_its_own_shape(open_world: Open) -> None:
    world = await open_world(Policy(name="d", effect="deny", models=("llama",)))
    reply = await world.ask(path="/v1/messages")
    assert reply.status == 403
    assert reply.json["type"] == "error"
    assert reply.json["error"]["type"] == "permission_error"
    assert reply.json["request_id"] == reply.header("x-request-id")


async def test_an_upload_is_judged_before_it_goes_anywhere(open_world: Open) -> None:
    world = await open_world(Policy(name="no-sound", effect="deny", paths=("/v1/audio/*",)))
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nllama\r\n--x--\r\n'
    headers = [("authorization", f"Bearer {world.key}"), ("content-type", "multipart/form-data; boundary=x")]
    reply = await world.served.ask(post(form, "/v1/audio/transcriptions", headers=headers))
    assert (reply.status, reply.error["code"]) == (403, "policy_blocked")
    assert world.asked() == {"L1": 0}


async def test_what_no_rule_allows_is_refused_where_that_is_the_default(open_world: Open) -> None:
    world = await open_world(
        Policy(name="core-may", effect="allow", tenants=("acme",), subjects=("team:core",), models=("mini",)),
        policy_default="deny",
    )
    assert [(await world.ask(model=model)).status for model in ("mini", "llama")] == [200, 403]
    records = await world.served.records.wait(2)
    assert [record.policy for record in records] == ["core-may", None]
    assert (await world.served.ask(post(b"", "/healthz", method="GET"))).status == 200


async def test_a_refusal_takes_nothing_from_limits(open_world: Open) -> None:
    world = await open_world(
        Policy(name="d", effect="deny", models=("llama",)), budgets=(Budget(tokens=2_000, period="day"),)
    )
    for _ in range(20):
        assert (await world.ask(max_tokens=1_000)).status == 403
    assert (await world.ask(model="mini")).status == 200


NO_CLOUD = Policy(name="no-cloud", effect="deny", classes=("P0", "P1"), tiers=("L2",))
P0, P2 = ("x-fastpath-data-class", "P0"), ("x-fastpath-data-class", "P2")


async def test_a_denied_tier_is_never_tried_not_even_when_the_others_fail(open_world: Open) -> None:
    world = await open_world(NO_CLOUD, tiers=("L0", "L1", "L2"))
    for tier in ("L0", "L1"):
        world.upstreams[tier].script(Fault(status=500))
    assert (await world.ask(P2)).status == 200
    assert (await world.record()).tier == "L2"
    for stream in (False, True):
        before = world.asked()
        reply = await world.ask(P0, stream=stream)
        assert reply.status == 502
        after = world.asked()
        assert {tier: after[tier] - before[tier] for tier in after} == {"L0": 1, "L1": 1, "L2": 0}
        record = await world.record()
        assert (record.attempts, record.policy, record.error) == (2, "no-cloud", "upstream_error")


async def test_a_retry_finds_the_tier_that_is_left(open_world: Open) -> None:
    world = await open_world(NO_CLOUD, tiers=("L0", "L2", "L1"))
    world.upstreams["L1"].script(Fault(status=500), times=1)
    assert (await world.ask(P0)).status == 200
    assert world.asked() == {"L0": 1, "L2": 0, "L1": 1}
    record = await world.record()
    assert (record.tier, record.attempts, record.policy) == ("L0", 2, "no-cloud")


async def test_a_model_with_nothing_but_denied_tiers_is_refused(open_world: Open) -> None:
    world = await open_world(NO_CLOUD, tiers=("L2",))
    reply = await world.ask(P0)
    assert (reply.status, reply.error["code"]) == (403, "policy_blocked")
    assert world.asked() == {"L2": 0}
    assert (await world.ask(P2)).status == 200
    assert [record.policy for record in await world.served.records.wait(2)] == ["no-cloud", None]


async def test_a_rule_about_tiers_that_a_model_has_not_is_not_named(open_world: Open) -> None:
    world = await open_world(NO_CLOUD, tiers=("L1",))
    assert (await world.ask(P0)).status == 200
    assert (await world.record()).policy is None


async def test_the_strictest_class_wins_and_none_is_refused(open_world: Open) -> None:
    world = await open_world(NO_CLOUD, tiers=("L2",))
    assert (await world.ask(P2, P0)).status == 403
    for word in ("p0", "P3", "", "P0, P2"):
        reply = await world.ask(("x-fastpath-data-class", word))
        assert (reply.status, reply.error["code"]) == (400, "invalid_request"), word


async def test_a_cheaper_model_is_judged_too(open_world: Open) -> None:
    levels = (Threshold(percent=1, action="degrade", model="mini"),)
    world = await open_world(
        Policy(name="no-mini", effect="deny", models=("mini",)),
        budgets=(Budget(amount=0.001, thresholds=levels, hard=False),),
    )
    statuses = [(await world.ask()).status for _ in range(12)]
    assert statuses[0] == 200
    assert statuses[-1] == 403
    record = await world.record()
    assert (record.model, record.policy, record.attempts) == ("mini", "no-mini", 0)


async def test_only_from_some_network(bench: Bench) -> None:
    upstream = await bench.mock()
    office = Policy(name="office", effect="deny", unless=Conditions(networks=("203.0.113.0/24",)))
    served = await bench.gateway(upstream.url, policies=(office,), listen={"trusted_proxies": ("127.0.0.0/8",)})
    statuses = [
        (await served.ask(post(BODY, headers=[("x-forwarded-for", address)]))).status
        for address in ("203.0.113.9", "203.0.114.9", "203.0.113.9, 198.51.100.1")
    ]
    assert statuses == [200, 403, 403]


class WallClock(SystemClock):
    """The machine's clock but for the time of day, which a test sets."""

    def __init__(self, text: str) -> None:
        self.set(text)

    def set(self, text: str, fold: int = 0) -> None:
        """To what clocks in Berlin show. fold 1: the second of two such hours."""
        moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)
        self.now = moment.timestamp  # type: ignore[method-assign]  # that is what it is for


async def test_time_windows_follow_clocks_on_the_wall(bench: Bench) -> None:
    upstream = await bench.mock()
    night = TimeWindow(start="02:00", end="03:00", time_zone="Europe/Berlin")
    settings: Settings = make_settings(
        [Model(name="llama", endpoints=(Endpoint(url=upstream.url, tier="L1"),))],
        policies=(Policy(name="nightly-backup", effect="deny", times=(night,)),),
    )
    clock, records = WallClock("2026-10-24 01:59"), RecordList()
    async with Gateway(settings, records, clock) as gateway:
        served = Served(gateway, records)

        async def status() -> int:
            return (await served.ask(post(BODY))).status

        assert await status() == 200
        for text, fold, expected in (
            ("2026-10-24 02:00", 0, 403),
            ("2026-10-24 03:00", 0, 200),
            ("2026-10-25 02:30", 0, 403),  # clocks are put back at 03:00 of this night
            ("2026-10-25 02:30", 1, 403),
            ("2026-10-25 03:00", 0, 200),
            ("2027-03-28 01:59", 0, 200),  # and put forward at 02:00 of this one
            ("2027-03-28 03:00", 0, 200),
        ):
            clock.set(text, fold)
            assert await status() == expected, (text, fold)


async def test_rules_that_change_hold_from_the_next_request_on(open_world: Open) -> None:
    world = await open_world()
    assert (await world.ask()).status == 200
    app, settings = world.served.gateway.app, world.served.gateway.settings
    assert app is not None
    app.reload(replace(settings, policies=(Policy(name="d", effect="deny"),)))
    assert (await world.ask()).status == 403
    app.reload(settings)
    assert (await world.ask()).status == 200
