"""Where data goes: the class and residency of a request hold on its first attempt, on every later one, and while it
runs; two walls keep it, and each keeps it alone."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import fastpath.relay.delivery as relay
from backends.mock import Fault
from fastpath.guard.egress import VIOLATIONS
from fastpath.settings import Endpoint, Key, Model, Residency, Settings, Tenant
from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher
from loadtest.rig import Bench, Upstream, chat, post
from loadtest.rig.bench import Served, make_settings

P0, P1, P2 = (("x-fastpath-data-class", word) for word in ("P0", "P1", "P2"))
DEAD = "http://127.0.0.1:9/v1"
CLOSED = Fault(status=503)
MESSAGES = {"model": "llama", "max_tokens": 8, "messages": [{"role": "user", "content": "x"}]}


def ask(*headers: tuple[str, str], stream: bool = False, key: str | None = None) -> bytes:
    credential = [("authorization", f"Bearer {key}")] if key is not None else []
    body = {"model": "llama", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    return post(body, headers=[*credential, *headers])


def local(url: str, weight: int = 1000, **more: Any) -> Endpoint:
    facts = {"tier": "L1", "quality": 0.0, "ttft": 9.0, **more}  # whatever may leave had better leave
    return Endpoint(url=url, name=f"home-{weight}", weight=weight, **facts)


def cloud(upstream: Upstream, weight: int = 1, **more: Any) -> Endpoint:
    return Endpoint(url=upstream.url, name=f"cloud-{weight}", weight=weight, quality=1.0, **more)


def settings_of(*endpoints: Endpoint, rule: Any = None, **more: Any) -> Settings:
    options: dict[str, Any] = {"data_class": "P2", **more}
    return make_settings([Model(name="llama", endpoints=endpoints, data_class=rule)], **options)


def violations(served: Served) -> int:
    return sum(served.gateway.metrics.snapshot().counters.get(VIOLATIONS, {}).values())


def app(served: Served) -> Any:
    assert served.gateway.app is not None
    return served.gateway.app


@pytest.mark.parametrize("word", [P0, P1], ids=["P0", "P1"])
async def test_it_goes_home_however_much_better_the_cloud_is(bench: Bench, word: tuple[str, str]) -> None:
    home, away = await bench.mock(), await bench.mock()
    served = await bench.serve(settings_of(local(home.url), cloud(away)))
    for _ in range(5):
        assert (await served.ask(ask(word))).status == 200
    assert (home.asked, away.asked) == (5, 0)
    assert (await served.ask(ask())).status == 200
    assert away.asked == 1, "P2 goes where it is better"


@pytest.mark.parametrize("word", [P0, P1], ids=["P0", "P1"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("home", ["dead", "full", "absent"])
async def test_a_second_choice_is_no_way_out(bench: Bench, word: tuple[str, str], stream: bool, home: str) -> None:
    away, full = await bench.mock(), await bench.mock()
    full.script(CLOSED)
    homes = {"dead": [local(DEAD), local("http://127.0.0.1:7/v1", 2)], "full": [local(full.url)], "absent": []}[home]
    served = await bench.serve(settings_of(*homes, cloud(away)))
    reply = await served.ask(ask(word, stream=stream))
    assert (reply.status, reply.error["code"], reply.error["type"]) == (503, "residency_unavailable", "server_error")
    assert (reply.header("retry-after") == "60") == (home == "absent"), "until settings change, or a server is back"
    assert f"data class {word[1]}, by its own header x-fastpath-data-class" in reply.error["message"]
    assert "127.0.0.1" not in reply.error["message"]
    assert away.asked == 0
    assert violations(served) == 0, "routing offered it nothing"
    (record,) = await served.records.wait(1)
    assert (record.data_class, record.attempts, record.error) == (word[1], len(homes), "residency_unavailable")


async def test_the_reason_has_the_callers_shape(bench: Bench) -> None:
    away = await bench.mock()
    served = await bench.serve(settings_of(cloud(away), local(DEAD)))
    reply = await served.ask(post(MESSAGES, "/v1/messages", headers=[P0]))
    assert (reply.status, reply.json["type"], reply.json["error"]["type"]) == (503, "error", "overloaded_error")
    assert "data class P0" in reply.json["error"]["message"]
    assert away.asked == 0


@pytest.mark.parametrize(
    ("common", "rule", "headers", "wanted"),
    [
        ("P0", None, [], "P0"),
        ("P0", None, [P2], "P0"),
        ("P2", "P0", [P2], "P0"),
        ("P2", "P1", [P2, P0], "P0"),
        ("P1", None, [P2], "P1"),
        ("P2", None, [P2, P1], "P1"),
        ("P2", None, [("X-Data-Grade", "P0")], "P2"),
        ("P0", None, [("X-Data-Grade", "P2"), ("X-FASTPATH-DATA-CLASS", "P2")], "P0"),
    ],
)
async def test_no_word_lowers_another(
    bench: Bench, common: str, rule: str | None, headers: Sequence[tuple[str, str]], wanted: str
) -> None:
    home, away = await bench.mock(), await bench.mock()
    served = await bench.serve(settings_of(local(home.url, 1), cloud(away, 1_000_000), rule=rule, data_class=common))
    assert (await served.ask(ask(*headers))).status == 200
    (record,) = await served.records.wait(1)
    assert (record.data_class, record.tier) == (wanted, "L2" if wanted == "P2" else "L1")


class Tenants:
    """A gateway with keys of tenants: `strict` (P0), `european` (P2, eu alone), `homely` (P2, L1 alone), `mute`."""

    def __init__(self, folder: Path) -> None:
        hasher = KeyHasher(make_pepper(folder / "state"))
        self.tenants = (
            Tenant(name="strict", data_class="P0"),
            Tenant(name="european", data_class="P2", residency=Residency(regions=("eu",))),
            Tenant(name="homely", residency=Residency(tiers=("L0", "L1"))),
            Tenant(name="mute"),
        )
        names = [tenant.name for tenant in self.tenants]
        self.keys = tuple(Key(name=name, hash=hasher.hash_text(name), tenant=name) for name in names)
        self.more = {"keys": self.keys, "tenants": self.tenants, "state_dir": str(folder / "state")}


async def test_a_tenant_says_where_its_data_goes(bench: Bench, tmp_path: Path) -> None:
    eu, us, nowhere, home = [await bench.mock() for _ in range(4)]
    endpoints = (
        cloud(nowhere, 3), cloud(us, 2, region="us"), cloud(eu, 1, region="eu"), local(home.url, 4, region="us"),
    )  # fmt: skip
    served = await bench.serve(settings_of(*endpoints, **Tenants(tmp_path).more))
    for key, headers, wanted in (
        ("strict", [P2], home), ("european", [], eu), ("homely", [], home), ("european", [P2], eu),
    ):  # fmt: skip
        before = wanted.asked
        for _ in range(4):
            assert (await served.ask(ask(*headers, key=key))).status == 200
        assert wanted.asked == before + 4, key
    reply = await served.ask(ask(P0, key="european"))
    assert (reply.status, reply.error["code"]) == (503, "residency_unavailable")
    assert "only in region eu, by its tenant's residency" in reply.error["message"]


async def test_the_gate_holds_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routing offers everything: nothing leaves, the caller reads the same, and the operator is told of a bug."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    monkeypatch.setattr(relay, "narrow", lambda targets, label: targets)
    away = await bench.mock()
    served = await bench.serve(settings_of(cloud(away), local(DEAD)))
    for stream in (False, True):
        reply = await served.ask(ask(P0, stream=stream))
        assert (reply.status, reply.error["code"]) == (503, "residency_unavailable")
    assert away.asked == 0
    assert (violations(served), len(told)) == (2, 2)
    assert "data of class P0 was stopped on its way to cloud-1" in str(told[0]["exception"])
    assert app(served)._runtime.table.in_flight[0] == 0


async def test_without_both_walls_it_leaks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the tests above mean something."""
    monkeypatch.setattr(relay, "narrow", lambda targets, label: targets)
    monkeypatch.setattr(relay, "egress", lambda label, place: None)
    away = await bench.mock()
    served = await bench.serve(settings_of(cloud(away)))
    assert (await served.ask(ask(P0))).status == 200
    assert away.asked == 1


# -- while it runs


async def streaming(served: Served, *headers: tuple[str, str], key: str | None = None) -> Any:
    client = await served.open()
    client.send(ask(*headers, stream=True, key=key))
    await client.events(2)
    return client


@pytest.mark.alone
@pytest.mark.parametrize("how", ["class", "rule"])
async def test_F38_a_tightened_rule_cuts_what_runs_astray(bench: Bench, how: str) -> None:
    away = await bench.mock(tokens=1000, rate=50.0)
    served = await bench.serve(settings_of(cloud(away)))
    clients = [await streaming(served), await streaming(served, P2)]
    began = asyncio.get_running_loop().time()
    app(served).reload(settings_of(cloud(away), **({"data_class": "P0"} if how == "class" else {"rule": "P1"})))
    for client in clients:
        reply = await client.reply()
        assert reply.frames[-1]["error"]["code"] == "residency_unavailable"
        assert reply.done == 0
    assert asyncio.get_running_loop().time() - began < 2.0
    records = await served.records.wait(2)
    assert {record.outcome for record in records} == {"broken"}


async def test_F38_a_place_that_came_nearer_is_no_reason(bench: Bench) -> None:
    server = await bench.mock(tokens=1000, rate=50.0)
    served = await bench.serve(settings_of(cloud(server)))
    client = await streaming(served)
    app(served).reload(settings_of(local(server.url)))
    assert len((await client.events(6)).events) >= 6
    client.leave()


async def test_F38_a_server_that_became_a_cloud_loses_what_is_not_for_clouds(bench: Bench) -> None:
    server = await bench.mock(tokens=1000, rate=50.0)
    served = await bench.serve(settings_of(local(server.url)))
    secret, public = await streaming(served, P0), await streaming(served)
    app(served).reload(settings_of(cloud(server)))
    assert (await secret.reply()).frames[-1]["error"]["code"] == "residency_unavailable"
    await public.events(6)
    public.leave()


async def test_F38_a_tightened_residency_cuts_its_tenant_and_no_other(bench: Bench, tmp_path: Path) -> None:
    away = await bench.mock(tokens=1000, rate=50.0)
    tenants = Tenants(tmp_path)
    served = await bench.serve(settings_of(cloud(away, region="eu"), **tenants.more))
    european, mute = await streaming(served, key="european"), await streaming(served, key="mute")
    tighter = (Tenant(name="european", residency=Residency(regions=("cn",))), *tenants.tenants[2:])
    keys = tuple(key for key in tenants.keys if key.name != "strict")
    app(served).reload(settings_of(cloud(away, region="eu"), **(tenants.more | {"tenants": tighter, "keys": keys})))
    assert (await european.reply()).frames[-1]["error"]["code"] == "residency_unavailable"
    await mute.events(6)
    mute.leave()


async def test_F38_a_request_that_is_still_being_read_meets_the_new_rule(bench: Bench) -> None:
    away = await bench.mock()
    served = await bench.serve(settings_of(cloud(away)))
    client = await served.open()
    whole = ask()
    client.send(whole[:-5])
    await asyncio.sleep(0.05)  # until its head was read: nothing shows that
    app(served).reload(settings_of(cloud(away), data_class="P0"))
    client.send(whole[-5:])
    reply = await client.reply()
    assert (reply.status, reply.error["code"]) == (503, "residency_unavailable")
    assert away.asked == 0
    client.leave()


async def test_a_retry_after_a_reload_meets_the_new_rule(bench: Bench) -> None:
    """It waited between two attempts while the rule changed."""
    away, slow = await bench.mock(), await bench.mock()
    slow.script(Fault(status=500, ttft=0.3))
    near = local(slow.url, quality=1.0, ttft=0.01)
    served = await bench.serve(settings_of(near, cloud(away)))
    asked = asyncio.create_task(served.ask(ask()))
    while not slow.asked:
        await asyncio.sleep(0.001)
    app(served).reload(settings_of(near, cloud(away), data_class="P0"))
    reply = await asked
    assert (reply.status, away.asked, violations(served)) == (503, 0, 0)
    assert reply.error["code"] == "residency_unavailable"


# -- where a name leads


class Names:
    """Name servers that answer as told, each answer good for no time at all."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str) -> tuple[list[str], float]:
        self.asked.append(host)
        left = self.answers[host.partition(".")[0]]
        return (left.pop(0) if len(left) > 1 else left[0]), 0.0

    async def close(self) -> None:
        """Nothing waits."""


async def test_a_name_that_leads_away_is_not_followed(bench: Bench) -> None:
    """DNS rebinding: the first answer is local, the next is not; and there is no second look-up in between."""
    home = await bench.mock()
    served = await bench.serve(
        settings_of(local(f"http://model.test:{home.port}/v1"), local_networks=("127.0.0.1/32",))
    )
    names = Names(model=[["127.0.0.1"], ["127.0.0.66"], ["127.0.0.1", "127.0.0.66"], ["127.0.0.1"]])
    app(served)._resolver.configure(names, 0.0, 0.0)
    away = await bench.mock(host="127.0.0.66", port=home.port)
    statuses = []
    for _ in range(4):
        statuses.append((await served.ask(ask(P0))).status)
        for backend in app(served)._backends.values():
            for connection in list(backend.pool._idle):
                connection.transport.abort()
        await asyncio.sleep(0.01)
    assert statuses == [200, 502, 502, 200]
    assert (home.asked, away.asked, len(names.asked)) == (2, 0, 4)
    records = await served.records.wait(4)
    assert records[1].failures == ["home-1000 address connect"]


async def test_an_answer_that_redirects_is_not_followed(bench: Bench) -> None:
    away, home = await bench.mock(), await bench.mock()
    home.script(Fault(status=307, headers={"location": f"{away.url}/chat/completions"}))
    served = await bench.serve(settings_of(local(home.url)))
    reply = await served.ask(chat())
    assert reply.status in (307, 502)
    assert away.asked == 0
    assert reply.header("location") is None
