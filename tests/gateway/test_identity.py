"""Who the caller is: the one credential of a request, and the address behind trusted proxies."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _native.door import Exchange
from fastpath.endpoints.paths import PATHS
from fastpath.identity.client import ClientAddress
from fastpath.identity.keys import KeyTable
from fastpath.settings import Endpoint, Key, Model
from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher, new_token
from loadtest.rig import Bench, post
from loadtest.rig.bench import Served, make_settings

BODY = {"model": "llama", "messages": [{"role": "user", "content": "x"}]}


class World:
    """A gateway with two keys: one for `llama`, one for nothing it serves."""

    def __init__(self, served: Served, key: str, narrow: str) -> None:
        self.served = served
        self.key = key
        self.narrow = narrow

    async def status(self, *headers: tuple[str, str], path: str = "/v1/chat/completions") -> int:
        reply = await self.served.ask(post(BODY, path, headers=headers))
        if reply.status == 401:
            assert reply.error["code"] == "invalid_api_key"
            assert reply.error["type"] == "authentication_error"
            assert reply.header("www-authenticate") == "Bearer"
            assert self.key not in reply.body.decode()
        return reply.status


@pytest.fixture
async def world(bench: Bench, tmp_path: Path) -> World:
    upstream = await bench.mock()
    hasher = KeyHasher(make_pepper(tmp_path / "state"))
    key, narrow = new_token().reveal(), new_token().reveal()
    settings = make_settings(
        [Model(name="llama", endpoints=(Endpoint(url=upstream.url, tier="L1"),))],
        keys=(
            Key(name="wide", hash=hasher.hash_text(key)),
            Key(name="narrow", hash=hasher.hash_text(narrow), models=("other",)),
        ),
        state_dir=str(tmp_path / "state"),
    )
    return World(await bench.serve(settings), key, narrow)


async def test_credentials(world: World) -> None:
    key, other = world.key, new_token().reveal()
    bearer = ("authorization", f"Bearer {key}")
    assert await world.status(bearer) == 200
    assert await world.status(("x-api-key", key)) == 200, "Anthropic clients"
    assert await world.status(("authorization", f"bEARER  {key}")) == 200
    assert await world.status(bearer, ("x-api-key", key)) == 200, "the same one twice is one"
    assert await world.status(bearer, bearer) == 200
    for refused in (
        [],
        [("authorization", f"Bearer {other}")],
        [("authorization", key)],
        [("authorization", f"Basic {key}")],
        [("authorization", "Bearer")],
        [("authorization", f"Bearer {key}x")],
        [("authorization", f"Bearer {key[:-1]}")],
        [("authorization", "Bearer " + "x" * 10_000)],
        [("api-key", key)],
        [bearer, ("x-api-key", other)],
        [bearer, ("x-api-key", "")],
        [bearer, ("authorization", f"Bearer {other}")],
        [("authorization", f"Bearer {other}"), bearer],
        [("x-api-key", other), ("x-api-key", key)],
    ):
        assert await world.status(*refused) == 401, refused
    records = await world.served.records.wait(19)
    assert [record.key for record in records] == ["wide"] * 5 + [None] * 14
    assert all(record.status == 401 and record.attempts == 0 for record in records[5:])


async def test_a_repeated_field_of_another_name_changes_nothing(world: World) -> None:
    bearer = ("authorization", f"Bearer {world.key}")
    assert await world.status(bearer, ("x-a", "1"), ("x-a", "2")) == 200
    assert await world.status(("x-a", "1"), ("x-a", "2")) == 401


async def test_a_model_out_of_scope_is_unknown(world: World) -> None:
    narrow = [("authorization", f"Bearer {world.narrow}")]
    reply = await world.served.ask(post(BODY, headers=narrow))
    unknown = await world.served.ask(post(BODY | {"model": "nothing"}, headers=narrow))
    assert reply.status == unknown.status == 404
    assert reply.error == unknown.error | {"message": unknown.error["message"].replace("nothing", "llama")}
    models = await world.served.ask(post(b"", "/v1/models", method="GET", headers=narrow))
    assert models.json["data"] == []
    one = await world.served.ask(post(b"", "/v1/models/llama", method="GET", headers=narrow))
    assert (one.status, one.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("path", [path for path in PATHS if not path.template.endswith("z")], ids=lambda p: p.template)
async def test_every_path_but_health_wants_a_key(world: World, path: Any) -> None:
    request = post(BODY, path.template.replace("{id}", "llama"), method=path.method)
    assert (await world.served.ask(request)).status == 401


async def test_health_wants_none(world: World) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await world.served.ask(post(b"", path, method="GET"))).status == 200


def test_every_credential_takes_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """One digest and one constant-time comparison, whoever asks."""
    hasher, token = KeyHasher(b"p" * 32), new_token().reveal()
    seen: list[str] = []

    class Watched(KeyHasher):
        def digest(self, token: bytes) -> bytes:
            seen.append("digest")
            return super().digest(token)

    table = KeyTable([Key(name="a", hash=hasher.hash_text(token))], Watched(b"p" * 32))
    compare = __import__("hmac").compare_digest

    def watched(a: bytes, b: bytes) -> bool:
        assert len(a) == len(b) == 32
        seen.append("compare")
        equal: bool = compare(a, b)
        return equal

    monkeypatch.setattr("fastpath.identity.keys.compare_digest", watched)
    for sent in (None, b"", b"Bearer", b"Bearer x", b"Basic x", b"Bearer " + b"x" * 9999, b"Bearer " + token.encode()):
        seen.clear()
        found = table.find(sent)
        assert seen == ["digest", "compare"]
        assert (found is not None) == (sent is not None and token.encode() in sent)


# -- the caller's address


def address(trusted: list[str], peer: str, *forwarded: str) -> str:
    class Forwarded(Exchange):
        def values(self, name: bytes) -> list[bytes]:
            return [text.encode("latin-1") for text in forwarded]

    exchange = Forwarded()
    exchange.peer = peer
    return ClientAddress(trusted).of(exchange)


OURS = ["10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["1.2.3.4"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6", "1.2.3.4", "10.9.9.9"], "1.2.3.4"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", ["1.2.3.4, unknown, 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", ["1.2.3.4, , 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", ["1.2.3.4:5678"], "10.0.0.1"),
        ("10.0.0.1", ["\xff"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["2001:DB8::1, fd00::7"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["::ffff:1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["::ffff:10.7.7.7, 10.1.1.1"], "10.7.7.7"),
        ("", ["1.2.3.4"], ""),
    ],
)
def test_forwarded_for(peer: str, forwarded: list[str], found: str) -> None:
    assert address(OURS, peer, *forwarded) == found


def test_without_trusted_proxies_only_the_socket_counts() -> None:
    assert address([], "10.0.0.1", "1.2.3.4") == "10.0.0.1"


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=20), max_size=5))
def test_a_caller_cannot_choose_his_address(forwarded: list[str]) -> None:
    """Whatever he puts in front, the last hop's own entry decides."""
    assert address(OURS, "10.0.0.1", *forwarded, "203.0.113.9") == "203.0.113.9"
