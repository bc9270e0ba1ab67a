"""Records of a real gateway: what is in them, who finds them, what a caller is told at once."""

import re
import secrets
from typing import Any

import msgspec
import pytest

from backends.mock import Fault
from fastpath.explain.headline import MOST
from fastpath.settings import Residency
from loadtest.rig.reply import Reply
from tests.explain.conftest import CANARY, Build, World

AUDIT = {
    "time", "user", "model", "version", "prompt_hash", "input_tokens", "output_tokens", "cost", "latency", "endpoint",
    "cache_hit", "status",
}  # fmt: skip


def body_of(reply: Reply) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(reply.body)
    return found


def id_of(reply: Reply) -> str:
    found = reply.header("x-request-id")
    assert found is not None
    return found


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_leaves_one_record_at_once(world: World, stream: bool) -> None:
    answer = await world.chat("plain", stream=stream)
    assert answer.status == 200
    found = body_of(await world.look("plain", id_of(answer)))
    assert found.keys() >= AUDIT
    assert found["id"] == id_of(answer)
    assert (found["tenant"], found["key"], found["model"], found["version"]) == ("acme", "plain", "llama", "3.3")
    assert (found["tier"], found["region"], found["status"], found["outcome"]) == ("L1", "eu", 200, "complete")
    assert found["input_tokens"] > 0
    assert found["output_tokens"] == 4
    assert found["latency"]["total_ms"] > 0
    assert (found["latency"]["ttft_ms"] is not None) == stream
    assert found["choices"] == [
        {
            "model": "llama",
            "endpoint": "endpoint-1",
            "reason": "only",
            "strategy": None,
            "dropped": [],
            "scored": [],
        }
    ]
    assert len(found["prompt_hash"]) == 64


async def test_nobody_but_its_tenant_finds_it(world: World) -> None:
    own = id_of(await world.chat("plain"))
    alone = id_of(await world.chat("alone"))
    assert (await world.look("plain", own)).status == 200
    assert (await world.look("seer", own)).status == 200, "of the same tenant"
    assert (await world.look("alone", alone)).status == 200
    probes = [
        ("other", own),
        ("alone", own),
        ("plain", alone),
        ("plain", f"req_{secrets.token_hex(16)}"),
        ("plain", own[:-1]),
        ("plain", own.upper()),
        ("plain", f"{own}x"),
        ("plain", f"{own}/.."),
        ("plain", "%2e%2e"),
        ("plain", "req_" + "0" * 32),
    ]
    replies = [await world.look(*probe) for probe in probes]
    assert {reply.status for reply in replies} == {404}
    assert len({reply.body for reply in replies}) == 1, "to the byte"
    assert {reply.error["code"] for reply in replies} == {"decision_not_found"}


async def test_strangers_are_refused_and_leave_nothing(world: World) -> None:
    world.keys["stranger"] = "fp-nobody-0000"
    refused = await world.chat("stranger")
    assert refused.status == 401
    assert (await world.look("stranger", id_of(refused))).status == 401
    assert (await world.look("plain", id_of(refused))).status == 404


async def test_names_of_endpoints_are_for_those_who_may_see_them(build: Build) -> None:
    world = await build()
    request = id_of(await world.chat("plain"))
    assert body_of(await world.look("plain", request))["endpoint"] == "endpoint-1"
    assert body_of(await world.look("seer", request))["endpoint"] == "rack-0"


async def test_an_address_is_no_name(build: Build) -> None:
    world = await build(named=False)
    answer = await world.chat("seer")
    assert "127.0.0.1" not in (answer.header("x-fastpath-decision") or "")
    assert "endpoint=unnamed" in (answer.header("x-fastpath-decision") or "")
    found = await world.look("seer", id_of(answer))
    assert found.status == 200
    assert b"127.0.0.1" not in found.body
    assert str(world.upstream.port).encode() not in found.body


@pytest.mark.parametrize("stream", [False, True])
async def test_insight_sees_the_decision_in_a_header(world: World, stream: bool) -> None:
    line = (await world.chat("seer", stream=stream)).header("x-fastpath-decision")
    assert line == "model=llama; endpoint=rack-0; tier=L1; reason=only"
    assert len(line) <= MOST
    assert (await world.chat("plain", stream=stream)).header("x-fastpath-decision") is None


async def test_a_failed_attempt_is_told(build: Build) -> None:
    world = await build(urls=2)
    world.upstream.script(Fault(status=500), times=1)
    answer = await world.chat("seer")
    assert answer.status == 200
    found = body_of(await world.look("seer", id_of(answer)))
    assert found["attempts"] == 2
    assert found["failures"] == [{"endpoint": "rack-0", "cause": "status", "moment": "head"}]
    assert [(each["endpoint"], each["reason"]) for each in found["choices"]] == [
        ("rack-0", "picker"),
        ("rack-1", "only"),
    ]
    assert found["choices"][1]["dropped"] == [{"endpoint": "rack-0", "step": "performance", "reason": "failed"}]
    assert found["endpoint"] == "rack-1"


async def test_only_some_leave_a_record(build: Build) -> None:
    world = await build(share=0.0)
    assert (await world.look("plain", id_of(await world.chat("plain")))).status == 404, "ordinary"
    assert (await world.look("seer", id_of(await world.chat("seer")))).status == 200, "of a key with insight"
    secret = await world.chat("plain", CANARY, ("x-fastpath-data-class", "P0"))
    found = body_of(await world.look("plain", id_of(secret)))
    assert (found["data_class"], found["data_class_from"]) == ("P0", "request")
    unknown = await world.chat("plain", model="nothing")
    assert unknown.status == 404
    refused = body_of(await world.look("plain", id_of(unknown)))
    assert (refused["status"], refused["error"], refused["choices"]) == (404, "model_not_found", [])
    assert refused["prompt_hash"], "its prompt was still here"


async def test_a_share_is_drawn_by_the_id(build: Build) -> None:
    world = await build(share=0.5)
    ids = [id_of(await world.chat("plain")) for _ in range(24)]
    drawn = [int(each[28:36], 16) < 1 << 31 for each in ids]
    assert set(drawn) == {True, False}
    for each, wanted in zip(ids, drawn, strict=True):
        assert ((await world.look("plain", each)).status == 200) == wanted


async def test_a_prompt_is_known_again_within_its_tenant_alone(world: World) -> None:
    hashes = [
        body_of(await world.look(key, id_of(await world.chat(key, prompt))))["prompt_hash"]
        for key, prompt in (("plain", "a"), ("seer", "a"), ("other", "a"), ("plain", "b"))
    ]
    assert hashes[0] == hashes[1], "of one tenant"
    assert len(set(hashes)) == 3


async def test_no_content_reaches_the_disk(world: World) -> None:
    for stream in (False, True):
        await world.chat("plain", CANARY, ("x-request-id", CANARY.replace(" ", "-")), stream=stream, user=CANARY)
    written = b"".join(path.read_bytes() for path in (world.state / "decisions").iterdir())
    assert b"llama" in written, "or this test looks at nothing"
    for secret in (CANARY.encode(), CANARY.replace(" ", "-").encode(), *(key.encode() for key in world.keys.values())):
        assert secret not in written
    assert str(world.upstream.port).encode() not in written
    for path in (world.state / "decisions").iterdir():
        assert path.stat().st_mode & 0o077 == 0


async def test_p0_is_not_sent_while_its_record_could_not_be_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = world.served.gateway.app
    assert app is not None
    recorder = app._runtime.decisions
    assert recorder is not None
    monkeypatch.setattr(type(recorder.archive), "roomy", property(lambda self: False))
    asked = world.upstream.asked
    refused = await world.chat("plain", CANARY, ("x-fastpath-data-class", "P0"))
    assert (refused.status, refused.error["code"]) == (503, "overloaded")
    assert world.upstream.asked == asked
    assert (await world.chat("plain", CANARY, ("x-fastpath-data-class", "P2"))).status == 200


async def test_too_many_searches_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    request = id_of(await world.chat("plain"))
    monkeypatch.setattr("fastpath.explain.archive.MOST_WAITING", 0)
    assert (await world.look("plain", request)).status == 503


def test_a_header_is_one_line_of_ascii() -> None:
    from fastpath.explain.headline import headline
    from scheduler.choice import Choice, Scored

    scored = (Scored("a", 1, 1, 1, 1, 0.88333), Scored("b", 1, 1, 1, 1, 0.5))
    assert headline(Choice("m", "a", "score", scored=scored), "L2", True).endswith(b"reason=score; score=0.8833")
    naughty = "ü\r\nx: y;" * 99
    line = headline(Choice(naughty, naughty, naughty), "L1", True)
    assert len(line) <= MOST
    assert re.fullmatch(rb"[ -~]+", line)
    assert line.count(b";") == 3


@pytest.mark.parametrize(
    ("regions", "reasons"),
    [(("us", "us"), ["region", "region"]), (("us", None), ["region", "region"]), (("us", "eu"), ["region"])],
)
async def test_residency_that_rules_a_region_out_is_told(
    build: Build, regions: tuple[str | None, ...], reasons: list[str]
) -> None:
    """Of a request that went elsewhere, and of one that there was no place for; by name to those who may see names."""
    world = await build(urls=2, regions=regions, residency=Residency(regions=("eu",)))
    answer = await world.chat("seer")
    assert answer.status == (200 if "eu" in regions else 503)
    found = body_of(await world.look("seer", id_of(answer)))
    (choice,) = found["choices"]
    assert [(each["step"], each["reason"]) for each in choice["dropped"]] == [("safety", one) for one in reasons]
    assert [each["endpoint"] for each in choice["dropped"]] == ["rack-0", "rack-1"][: len(reasons)]
    assert (choice["endpoint"], choice["reason"]) == (("rack-1", "only") if "eu" in regions else (None, "nobody"))
    line = answer.header("x-fastpath-decision")
    if answer.status == 503:
        assert line == "model=llama; endpoint=-; tier=-; reason=nobody"
        assert world.upstream.asked == 0


async def test_a_class_that_leaves_no_place_is_told(build: Build) -> None:
    world = await build(tier="L2", named=False)
    answer = await world.chat("plain", "x", ("x-fastpath-data-class", "P0"))
    assert answer.error["code"] == "residency_unavailable"
    found = await world.look("plain", id_of(answer))
    (choice,) = body_of(found)["choices"]
    assert choice["dropped"] == [{"endpoint": "endpoint-1", "step": "safety", "reason": "tier"}]
    assert b"127.0.0.1" not in found.body
