"""What a key may be used for besides its models: paths, networks, data classes, and until when."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fastpath.settings import Endpoint, Key, Model, Settings
from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher
from loadtest.rig import Bench, Conversation, post
from loadtest.rig.bench import Served, make_settings
from loadtest.rig.conversation import PATIENCE

EMBED = {"model": "llama", "input": "x"}
PAST = "2026-01-01T00:00:00Z"


class World:
    """A gateway with two keys: `alpha`, which is limited, and `beta`, which is not."""

    def __init__(self, served: Served, settings_with: Callable[..., Settings]) -> None:
        self.served = served
        self.ask = served.ask
        self._settings_with = settings_with

    def limit(self, **scope: Any) -> None:
        """Loads settings in which `alpha` has these limits."""
        assert self.served.gateway.app is not None
        self.served.gateway.app.reload(self._settings_with(**scope))

    async def stream(self, key: str, *headers: tuple[str, str]) -> Conversation:
        """A stream of which two events have come."""
        client = await self.served.open()
        client.send(post(CHAT | {"stream": True}, headers=(("authorization", f"Bearer {key}"), *headers)))
        await client.events(2)
        return client


Make = Callable[..., Awaitable[World]]


@pytest.fixture
def serve(bench: Bench, tmp_path: Path) -> Make:
    """Starts a gateway: `serve(paths=..., ...)` with limits of `alpha`."""

    async def run(listen: dict[str, Any] | None = None, tokens: int = 4, rate: float = 0.0, **scope: Any) -> World:
        upstream = await bench.mock(tokens=tokens, rate=rate)
        hasher = KeyHasher(make_pepper(tmp_path / "state"))

        def settings_with(**scope: Any) -> Settings:
            endpoint = Endpoint(url=upstream.url, model="llama", tier="L1")
            keys = (
                Key(name="alpha", hash=hasher.hash_text("alpha"), **scope),
                Key(name="beta", hash=hasher.hash_text("beta")),
            )
            models = [Model(name=name, endpoints=(endpoint,)) for name in ("llama", "other")]
            return make_settings(models, keys=keys, state_dir=str(tmp_path / "state"), listen=listen or {})

        return World(await bench.serve(settings_with(**scope)), settings_with)

    return run


def ask(path: str, body: object, *headers: tuple[str, str], method: str = "POST") -> bytes:
    return post(body, path, method=method, headers=(("authorization", "Bearer alpha"), *headers))


CHAT = {"model": "llama", "messages": [{"role": "user", "content": "x"}]}


async def test_paths(serve: Make) -> None:
    world = await serve(paths=("/v1/chat/completions", "/v1/models"))
    assert (await world.ask(ask("/v1/chat/completions", CHAT))).status == 200
    assert (await world.ask(ask("/v1/models", b"", method="GET"))).status == 200
    assert (await world.ask(ask("/v1/models/llama", b"", method="GET"))).status == 200
    refused = await world.ask(ask("/v1/embeddings", EMBED))
    assert (refused.status, refused.error["code"], refused.error["type"]) == (
        403,
        "permission_denied",
        "permission_error",
    )
    assert (await world.ask(post(EMBED, "/v1/embeddings", headers=[("authorization", "Bearer beta")]))).status == 200
    records = await world.served.records.wait(5)
    assert [(record.key, record.attempts) for record in records][3] == ("alpha", 0)


@pytest.mark.parametrize(
    ("networks", "forwarded", "status"),
    [
        (("10.0.0.0/8",), None, 403),
        (("127.0.0.0/8",), None, 200),
        (("10.0.0.0/8", "127.0.0.1"), None, 200),
        (("10.0.0.0/8",), "10.1.2.3", 200),
        (("10.0.0.0/8",), "10.1.2.3, 203.0.113.9", 403),
        (("127.0.0.0/8",), "203.0.113.9", 403),
        (("2001:db8::/32",), "2001:db8::7", 200),
        (("::/0",), "10.1.2.3", 403),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", 200),
    ],
)
async def test_networks(serve: Make, networks: tuple[str, ...], forwarded: str | None, status: int) -> None:
    world = await serve(listen={"trusted_proxies": ("127.0.0.1",)}, networks=networks)
    headers = [("x-forwarded-for", forwarded)] if forwarded else []
    assert (await world.ask(ask("/v1/chat/completions", CHAT, *headers))).status == status


async def test_without_a_trusted_proxy_no_header_says_where_a_caller_is(serve: Make) -> None:
    world = await serve(networks=("10.0.0.0/8",))
    assert (await world.ask(ask("/v1/chat/completions", CHAT, ("x-forwarded-for", "10.1.2.3")))).status == 403


@pytest.mark.parametrize(
    ("ceiling", "said", "status", "recorded"),
    [
        (None, [], 200, "P0"),
        (None, ["P0"], 200, "P0"),
        ("P1", [], 200, "P1"),
        ("P1", ["P2"], 200, "P2"),
        ("P1", ["P1"], 200, "P1"),
        ("P1", ["P0"], 403, None),
        ("P2", ["P1"], 403, None),
        ("P0", ["P0"], 200, "P0"),
        ("P1", ["P2", "P0"], 403, None),
        (None, ["P2", "P1"], 200, "P1"),
        (None, ["p0"], 400, None),
        (None, [""], 400, None),
        ("P1", ["P0, P2"], 400, None),
    ],
)
async def test_data_classes(
    serve: Make, ceiling: str | None, said: list[str], status: int, recorded: str | None
) -> None:
    world = await serve(data_class=ceiling)
    headers = [("x-fastpath-data-class", each) for each in said]
    assert (await world.ask(ask("/v1/chat/completions", CHAT, *headers))).status == status
    (record,) = await world.served.records.wait(1)
    assert (record.status, record.data_class) == (status, recorded)


async def test_a_key_that_has_ended_reads_as_a_wrong_one(serve: Make) -> None:
    world = await serve(expires=PAST)
    ended = await world.ask(ask("/v1/chat/completions", CHAT))
    wrong = await world.ask(post(CHAT, "/v1/chat/completions", headers=[("authorization", "Bearer gamma")]))
    assert (ended.status, ended.error) == (wrong.status, wrong.error) == (401, wrong.error)


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ({"models": ("other",)}, "permission_denied"),
        ({"paths": ("/v1/embeddings",)}, "permission_denied"),
        ({"networks": ("10.0.0.0/8",)}, "permission_denied"),
        ({"data_class": "P2"}, "permission_denied"),
        ({"expires": PAST}, "invalid_api_key"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_tightening_ends_a_running_stream_in_band(
    serve: Make, quiet: Any, scope: dict[str, Any], code: str
) -> None:
    world = await serve(tokens=1000, rate=50.0)
    alpha, beta = await world.stream("alpha", ("x-fastpath-data-class", "P1")), await world.stream("beta")
    world.limit(**scope)
    reply = await alpha.reply()
    assert reply.done == 0
    assert reply.in_band is not None
    assert reply.in_band["code"] == code
    await beta.events(len(beta.reader.current.events) + 2)
    beta.leave()
    alpha.leave()
    await quiet(world.served).wait()
    record = next(each for each in world.served.records.all if each.key == "alpha")
    assert (record.status, record.outcome, record.error) == (200, "broken", code)
    assert record.output_tokens is not None
    assert record.output_tokens >= 2


async def test_widening_ends_nothing(serve: Make) -> None:
    world = await serve(tokens=30, rate=50.0, models=("llama",), networks=("127.0.0.0/8",))
    client = await world.stream("alpha")
    world.limit()
    assert (await client.reply()).done == 1
    client.leave()


async def test_an_answer_that_has_not_begun_is_refused_with_its_status(serve: Make) -> None:
    world = await serve(tokens=4, rate=0.1)
    client = await world.served.open()
    client.send(ask("/v1/chat/completions", CHAT))
    async with asyncio.timeout(PATIENCE):
        while not world.served.in_flight:
            await asyncio.sleep(0.001)
    world.limit(models=("other",))
    reply = await client.reply()
    assert (reply.status, reply.error["code"]) == (403, "permission_denied")
    client.leave()


async def test_a_key_that_is_taken_away_while_the_body_comes_sends_nothing_upstream(serve: Make) -> None:
    world = await serve()
    client = await world.served.open()
    request = ask("/v1/chat/completions", CHAT)
    client.send(request[:-5])
    app: Any = world.served.gateway.app
    async with asyncio.timeout(PATIENCE):
        while not app._door.expecting:
            await asyncio.sleep(0.001)
    world.limit(expires=PAST)
    await client.push(request[-5:])
    assert (await client.reply()).status == 401
    (record,) = await world.served.records.wait(1)
    assert (record.key, record.attempts) == ("alpha", 0)
    client.leave()
