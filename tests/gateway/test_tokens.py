"""Callers with a token of an identity provider, through both doors: who is let in, as whom, and what happens when the
provider rotates its keys or is gone."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
import pytest

from fastpath.account.payer import payer_of
from fastpath.app import Gateway
from fastpath.identity.token.discovery import discover
from fastpath.identity.token.fetch import Answer, Ask, Caps, GuardedFetch, resolve_by_system
from fastpath.identity.token.login import Callback, Client, Grant, RelyingParty
from fastpath.outbox.facts import Payer
from fastpath.settings import ClaimNames, Endpoint, Issuer, Key, Listen, Model, Settings, Tenant, User
from fastpath.settings.pepper import make_pepper
from fastpath.settings.secret import Secret
from fastpath.settings.tenancy import Budget, Limit, Team
from fastpath.settings.token import KeyHasher, new_token
from loadtest.rig import Bench, Reply, post
from loadtest.rig.bench import RecordList, Served, make_settings
from tests.gateway.shifted import ShiftedClock
from tests.idp.server import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, IdentityProvider
from tests.idp.signer import SigningKey, b64

BODY = {"model": "llama", "messages": [{"role": "user", "content": "x"}]}
HOUR = 3_600.0
FETCH = GuardedFetch(resolve_by_system, frozenset({"127.0.0.1"}))
Open = Callable[..., Awaitable["World"]]


class World:
    """A gateway that believes `idp`, before one mock."""

    def __init__(self, served: Served, idp: IdentityProvider, clock: ShiftedClock, upstream: Any, key: str) -> None:
        self.served = served
        self.idp = idp
        self.clock = clock
        self.upstream = upstream
        self.key = key

    async def ask(self, token: bytes | str, path: str = "/v1/chat/completions", **more: Any) -> Reply:
        return await self.send([("authorization", f"Bearer {text(token)}")], path, **more)

    async def send(self, headers: list[tuple[str, str]], path: str = "/v1/chat/completions", **more: Any) -> Reply:
        if path == "/v1/models":
            return await self.served.ask(post(b"", path, method="GET", headers=headers))
        return await self.served.ask(post(BODY | more, path, headers=headers))

    async def record(self) -> Any:
        return (await self.served.records.wait(len(self.served.records.all)))[-1]

    async def refused(self, token: bytes | str) -> tuple[int, str]:
        """Status and code of the answer to a token, in which nothing of it is told."""
        reply = await self.ask(token)
        assert reply.status != 200
        assert text(token).encode() not in reply.body
        record = await self.record()
        assert (record.key, record.attempts, record.status) == (None, 0, reply.status)
        return reply.status, reply.error["code"]

    async def models(self, token: bytes) -> list[str]:
        reply = await self.ask(token, "/v1/models")
        assert reply.status == 200, reply
        return [card["id"] for card in reply.json["data"]]

    async def renewed(self, fetches: int) -> None:
        """Returns when the keys were fetched so many times."""
        (keys,) = self.app._issuers._keys.values()
        async with asyncio.timeout(30):
            while keys.fetches < fetches or keys.renewing:
                await asyncio.sleep(0.001)

    def pass_over(self, seconds: float) -> None:
        """Lets time pass, and those who sleep in real time look at the clock."""
        self.clock.passed += seconds
        for keys in self.app._issuers._keys.values():
            keys._news.set()

    def refusals(self) -> dict[tuple[str, ...], float]:
        return dict(self.served.gateway.metrics.snapshot().counters.get("fastpath_token_refusals_total", {}))

    @property
    def app(self) -> Any:
        return self.served.gateway.app

    def reload(self, **changed: Any) -> None:
        settings = msgspec.structs.replace(self.app._settings, **changed)
        self.app.reload(settings)


def text(token: bytes | str) -> str:
    return token if isinstance(token, str) else token.decode()


@pytest.fixture
async def idp() -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider(time.time) as provider:
        yield provider


@pytest.fixture
async def open_world(door: str, bench: Bench, idp: IdentityProvider, tmp_path: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def open_world(
            *, tenants: tuple[Tenant, ...] = (Tenant(name="acme"),), with_key: bool = True, **issuer: Any
        ) -> World:
            upstream = await bench.mock(models=("llama", "small"))
            endpoints = (Endpoint(url=upstream.url, name="e0", tier="L1"),)
            key = new_token().reveal()
            hash = KeyHasher(make_pepper(tmp_path / "state")).hash_text(key)
            settings = make_settings(
                [Model(name=name, endpoints=endpoints) for name in ("llama", "small")],
                keys=(Key(name="ci", hash=hash),) if with_key else (),
                issuers=(issuer_of(idp, **issuer),),
                tenants=tenants,
                state_dir=str(tmp_path / "state"),
                listen={"door": door},
            )
            records, clock = RecordList(), ShiftedClock()
            gateway = Gateway(settings, records, clock)
            await stack.enter_async_context(gateway)
            return World(Served(gateway, records), idp, clock, upstream, key)

        yield open_world


def issuer_of(idp: IdentityProvider, **changed: Any) -> Issuer:
    made = {"name": "corp", "issuer": idp.issuer, "audience": ("https://gateway.test",), "tenant": "acme"}
    return Issuer(**made | {"allow_hosts": ("127.0.0.1",)} | changed)


# -- who is let in


async def test_a_token_stands_where_a_key_would(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world()
    token = text(idp.access_token())
    bearer = ("authorization", f"Bearer {token}")
    for headers in (
        [bearer],
        [("x-api-key", token)],
        [("authorization", f"bEARER  {token}")],
        [bearer, ("x-api-key", token)],
        [bearer, bearer],
    ):
        assert (await world.send(headers)).status == 200
    assert [record.key for record in world.served.records.all] == ["corp:alice"] * 5
    assert (await world.ask(world.key)).status == 200
    assert (await world.record()).key == "ci"
    assert world.refusals() == {}


async def test_tokens_as_clients_get_them(open_world: Open, idp: IdentityProvider) -> None:
    """A program by client credentials; a person's application by code + PKCE, whose ID token is none for us."""
    world = await open_world()
    login = Client(client_id=CLIENT_ID, redirect_uri=REDIRECT_URI, secret=Secret(CLIENT_SECRET))
    (keys,) = world.app._issuers._keys.values()
    granted: list[dict[str, Any]] = []

    async def fetch(ask: Ask, /) -> Answer:
        answer = await FETCH(ask)
        granted.append(json.loads(answer.body))
        return answer

    party = RelyingParty(login, await discover(idp.issuer, FETCH), keys, fetch)
    grant = await party.client_credentials(("models:small",))
    assert isinstance(grant, Grant)
    assert (await world.ask(grant.access_token, model="small")).status == 200
    assert (await world.record()).key == "corp:service-1"
    assert (await world.ask(grant.access_token)).status == 404

    began = party.begin()
    async with httpx.AsyncClient() as browser:
        answer = await browser.get(began.url, follow_redirects=False)
    back = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    await party.finish(began, msgspec.convert(back, Callback), world.clock.now())
    assert (await world.ask(granted[-1]["access_token"])).status == 200
    assert (await world.record()).key == "corp:alice"
    assert await world.refused(granted[-1]["id_token"]) == (401, "invalid_api_key")


async def test_one_credential_of_each_kind_is_one_too_many(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world()
    token, other = text(idp.access_token()), text(idp.access_token())
    for headers in (
        [("authorization", f"Bearer {token}"), ("x-api-key", world.key)],
        [("authorization", f"Bearer {world.key}"), ("x-api-key", token)],
        [("authorization", f"Bearer {token}"), ("x-api-key", other)],
        [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {other}")],
    ):
        reply = await world.send(headers)
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
        assert "Two different" in reply.error["message"]
    assert world.upstream.asked == 0


def confused(idp: IdentityProvider) -> bytes:
    """HS256 with what everybody knows of the key as its secret: the oldest trick."""
    header = b64(json.dumps({"alg": "HS256", "typ": "JWT", "kid": idp.key.kid}).encode())
    signed = f"{header}.{b64(json.dumps(claims(idp)).encode())}".encode()
    secret = json.dumps(idp.key.jwk()).encode()
    return signed + b"." + b64(hmac.new(secret, signed, hashlib.sha256).digest()).encode()


def unsigned(idp: IdentityProvider) -> bytes:
    header = b64(json.dumps({"alg": "none", "typ": "JWT"}).encode())
    return f"{header}.{b64(json.dumps(claims(idp)).encode())}.".encode()


def claims(idp: IdentityProvider) -> dict[str, Any]:
    return {"iss": idp.issuer, "aud": "https://gateway.test", "sub": "alice", "exp": time.time() + 300}


BAD: dict[str, tuple[Callable[[IdentityProvider], bytes], str, str]] = {
    "expired": (lambda idp: idp.access_token(exp=time.time() - 61), "token_expired", "expired"),
    "not yet": (lambda idp: idp.access_token(nbf=time.time() + 70), "invalid_api_key", "not_yet_valid"),
    "of the future": (lambda idp: idp.access_token(iat=time.time() + 70), "invalid_api_key", "issued_in_future"),
    "no end": (lambda idp: idp.access_token(exp=None), "invalid_api_key", "missing_claim"),
    "nobody's": (lambda idp: idp.access_token(sub=None), "invalid_api_key", "missing_claim"),
    "another issuer": (lambda idp: idp.access_token(iss="https://evil.test"), "invalid_api_key", "unknown_issuer"),
    "another audience": (lambda idp: idp.access_token(aud="https://other.test"), "invalid_api_key", "wrong_audience"),
    "alg none": (unsigned, "invalid_api_key", "algorithm_none"),
    "HS-RS confusion": (confused, "invalid_api_key", "algorithm_symmetric"),
    "unknown kid": (lambda idp: idp.key.token(claims(idp), kid="other"), "invalid_api_key", "unknown_key"),
    "a stranger's key": (lambda idp: SigningKey("key-1").token(claims(idp)), "invalid_api_key", "bad_signature"),
    "a key of its own": (
        lambda idp: idp.key.token(claims(idp), jwk=idp.key.jwk()),
        "invalid_api_key",
        "key_in_header",
    ),
    "an ID token": (lambda idp: idp.id_token("nonce", "access").encode(), "invalid_api_key", "wrong_audience"),
    "bound to its sender": (lambda idp: idp.access_token(cnf={"jkt": "x"}), "invalid_api_key", "sender_constrained"),
    "too long": (lambda idp: idp.access_token(pad="x" * 9000), "invalid_api_key", "too_long"),
    "nonsense": (lambda idp: b"a.b.c", "invalid_api_key", "malformed"),
    "cut off": (lambda idp: idp.access_token()[:-1], "invalid_api_key", ""),
}


async def test_what_is_not_sound_is_refused_before_anything_else(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world()
    for name, (make, code, reason) in BAD.items():
        before = sum(world.refusals().values())
        assert await world.refused(make(idp)) == (401, code), name
        assert sum(world.refusals().values()) == before + 1, name
        assert not reason or any(labels[1] == reason for labels in world.refusals()), name
    assert world.upstream.asked == 0
    assert {labels[0] for labels in world.refusals()} == {"corp", "unknown"}, "nothing that a token says is a label"
    assert idp.asked["/jwks"] == 1


async def test_an_issuer_alone_closes_the_door(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world(with_key=False)
    for refused in ([], [("authorization", f"Bearer {world.key}")], [("authorization", f"Basic {b64(b'a:b')}.x")]):
        reply = await world.send(refused)
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    assert (await world.ask(idp.access_token())).status == 200


async def test_a_key_with_dots_in_it_stays_a_key(open_world: Open, tmp_path: Path) -> None:
    world = await open_world()
    hash = KeyHasher(make_pepper(tmp_path / "state")).hash_text("brought.along.from-elsewhere")
    world.reload(keys=(Key(name="old", hash=hash),))
    assert (await world.ask("brought.along.from-elsewhere")).status == 200
    assert (await world.refused("brought.along.from-nowhere")) == (401, "invalid_api_key")


async def test_a_minute_of_disagreement_is_forgiven_and_a_jumping_clock_refuses_nobody(
    open_world: Open, idp: IdentityProvider
) -> None:
    world = await open_world()
    late, early = idp.access_token(exp=time.time() - 50), idp.access_token(nbf=time.time() + 50)
    assert [(await world.ask(token)).status for token in (late, early)] == [200, 200]
    for step in (HOUR, -HOUR, 24 * HOUR, -24 * HOUR):
        world.clock.stepped = step
        assert (await world.ask(idp.access_token())).status == 200, step


async def test_a_remembered_token_ends_on_time(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world()
    token = idp.access_token(exp=time.time() + 5)
    assert (await world.ask(token)).status == 200
    world.clock.passed = 66.0
    assert await world.refused(token) == (401, "token_expired")


# -- keys over time


async def test_rotation_while_running(open_world: Open, idp: IdentityProvider) -> None:
    """A token of a key that nobody published before: try again, which clients do by themselves; then it is known."""
    world = await open_world()
    old = idp.access_token()
    assert (await world.ask(old)).status == 200
    world.clock.passed = 31.0
    idp.rotate()
    new = idp.access_token()
    reply = await world.ask(new)
    assert (reply.status, reply.error["code"], reply.header("retry-after")) == (503, "overloaded", "1")
    await world.renewed(2)
    assert (await world.ask(new)).status == 200
    assert (await world.ask(old)).status == 200
    idp.rotate(overlap=False)
    world.clock.passed = 62.0
    assert (await world.ask(idp.access_token())).status == 503
    await world.renewed(3)
    assert (await world.ask(idp.access_token())).status == 200
    assert await world.refused(old) == (401, "invalid_api_key")


async def test_a_flood_of_unknown_keys_is_one_fetch_and_refused(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world()
    world.clock.passed = 31.0
    flood = [idp.key.token(claims(idp), kid=f"made-up-{n}") for n in range(40)]
    assert (await world.refused(flood[0]))[0] == 503
    await world.renewed(2)
    assert {await world.refused(token) for token in flood} == {(401, "invalid_api_key")}
    assert idp.asked["/jwks"] == 2
    assert (await world.ask(idp.access_token())).status == 200


async def test_keys_go_on_while_the_provider_is_down(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world()
    await idp.stop()
    for hours in (0, 1, 23):
        world.clock.passed = hours * HOUR
        idp.now = lambda: world.clock.now()
        assert (await world.ask(idp.access_token())).status == 200, hours


async def test_a_provider_that_is_down_at_the_start_is_no_reason_to_call_tokens_wrong(
    open_world: Open, idp: IdentityProvider
) -> None:
    idp.moods.status = 503
    world = await open_world()
    reply = await world.ask(idp.access_token())
    assert (reply.status, reply.error["code"]) == (503, "overloaded")
    assert 1 <= int(reply.header("retry-after") or 0) <= 30
    assert (await world.ask(world.key)).status == 200, "keys are served all the same"
    idp.moods.status = 0
    world.pass_over(31.0)
    await world.renewed(2)
    assert (await world.ask(idp.access_token())).status == 200


async def test_a_silent_provider_makes_nobody_wait(open_world: Open, idp: IdentityProvider) -> None:
    """While the keys are being fetched, keys of ours and remembered tokens are served as ever."""
    world = await open_world()
    token = idp.access_token()
    assert (await world.ask(token)).status == 200
    idp.moods.silent = True
    (keys,) = world.app._issuers._keys.values()
    keys._fetch._caps = Caps(seconds=60)  # as long as a busy machine may need for the rest
    world.clock.passed = 31.0
    idp.rotate()
    assert (await world.refused(idp.access_token()))[0] == 503
    assert [(await world.ask(who)).status for who in (token, world.key, token)] == [200, 200, 200]
    assert (await world.refused(idp.access_token()))[0] == 503
    assert world.app._issuers.renewing("corp"), "the provider was still silent"


# -- as whom


async def test_scopes_name_models(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world()
    assert await world.models(idp.access_token()) == ["llama", "small"]
    assert await world.models(idp.access_token(scope="chat models:small models:unheard-of")) == ["small"]
    narrow = idp.access_token(scope="models:small")
    assert (await world.ask(narrow)).error["code"] == "model_not_found"
    assert (await world.ask(narrow, model="small")).status == 200
    assert await world.models(idp.access_token(scope="models:*")) == ["llama", "small"]
    world.reload(issuers=(issuer_of(idp, models=()),))
    assert await world.models(idp.access_token()) == []
    assert await world.models(narrow) == ["small"]
    assert idp.asked["/jwks"] == 1, "keys of an issuer whose settings changed are kept"


async def test_a_tenant_and_its_parts_say_how_much_a_scope_may_grant(open_world: Open, idp: IdentityProvider) -> None:
    claims = ClaimNames(team="team")
    world = await open_world(claims=claims)
    token = idp.access_token(team="core", scope="models:llama models:small")
    everything: dict[str, Any] = {"name": "acme", "teams": (Team(name="core"),), "users": (User(name="corp:alice"),)}
    for changed in (
        {"token_models": ("small",)},
        {"teams": (Team(name="core", token_models=("small",)),)},
        {"users": (User(name="corp:alice", token_models=("small",)),)},
        {"users": (User(name="core/corp:alice", team="core", token_models=("small",)),)},
    ):
        world.reload(tenants=(Tenant(**everything),))
        assert await world.models(token) == ["llama", "small"]
        world.reload(tenants=(Tenant(**everything | changed),))
        assert await world.models(token) == ["small"], changed
    world.reload(tenants=(Tenant(name="acme", token_models=()),))
    assert await world.models(token) == []


async def test_whoever_is_not_known_here_may_not(open_world: Open, idp: IdentityProvider) -> None:
    named = {"claims": ClaimNames(tenant="tid"), "tenants": ("acme", "gone"), "tenant": ""}
    world = await open_world()
    world.reload(issuers=(issuer_of(idp, **named),))
    assert (await world.ask(idp.access_token(tid="acme"))).status == 200
    assert await world.refused(idp.access_token(tid="gone")) == (403, "permission_denied")
    assert await world.refused(idp.access_token(tid="globex")) == (401, "invalid_api_key"), "not of this issuer"
    assert await world.refused(idp.access_token()) == (401, "invalid_api_key")
    world.reload(issuers=(issuer_of(idp, members="listed"),))
    assert await world.refused(idp.access_token()) == (403, "permission_denied")
    world.reload(tenants=(Tenant(name="acme", users=(User(name="corp:alice"),)),))
    assert (await world.ask(idp.access_token())).status == 200
    assert await world.refused(idp.access_token(sub="bob")) == (403, "permission_denied")


async def test_users_and_tokens_are_denied_at_once(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world()
    alice, bob = idp.access_token(), idp.access_token(sub="bob", jti="one")
    assert [(await world.ask(token)).status for token in (alice, bob)] == [200, 200]
    world.reload(issuers=(issuer_of(idp, deny_users=("alice",), deny_tokens=("one",)),))
    assert await world.refused(alice) == await world.refused(bob) == (401, "invalid_api_key")
    assert (await world.ask(idp.access_token(sub="bob"))).status == 200
    world.reload(issuers=())
    assert await world.refused(idp.access_token(sub="bob")) == (401, "invalid_api_key")
    assert asyncio.all_tasks() == {task for task in asyncio.all_tasks() if "keys of issuer" not in task.get_name()}


async def test_limits_of_a_tenant_hold_over_tokens_of_its_users(open_world: Open, idp: IdentityProvider) -> None:
    limits = (Limit(count="requests", most=5, per="hour"),)
    alone = (Limit(count="requests", most=2, per="hour"),)
    tenant = Tenant(
        name="acme",
        limits=limits,
        users=(User(name="corp:alice", limits=alone),),
        teams=(Team(name="t", limits=alone),),
    )
    world = await open_world(tenants=(tenant,), claims=ClaimNames(team="team"))
    alice = [idp.access_token(jti=f"t-{n}") for n in range(3)]
    bob = idp.access_token(sub="bob")
    statuses = [(await world.ask(token)).status for token in alice]
    assert statuses == [200, 200, 429], "a user has one limit for all tokens"
    assert "your user's" in (await world.ask(alice[0])).error["message"].lower()
    assert [(await world.ask(bob)).status for _ in range(4)] == [200, 200, 200, 429]
    assert "your tenant's" in (await world.ask(bob)).error["message"].lower()
    assert (await world.ask(world.key)).status == 200, "a key of nobody's is not the tenant's"


async def test_limits_of_a_team(open_world: Open, idp: IdentityProvider) -> None:
    team = Team(name="t", limits=(Limit(count="requests", most=2, per="hour"),))
    world = await open_world(tenants=(Tenant(name="acme", teams=(team,)),), claims=ClaimNames(team="team"))
    tokens = [idp.access_token(sub=name, team="t") for name in ("ann", "ben", "cat")]
    assert [(await world.ask(token)).status for token in tokens] == [200, 200, 429]
    assert (await world.ask(idp.access_token(sub="dan"))).status == 200
    assert (await world.ask(idp.access_token(sub="dan", team="other"))).status == 200
    listed = (User(name="corp:eve", team="t"),)
    world.reload(tenants=(Tenant(name="acme", teams=(team, Team(name="u")), users=listed),))
    told = [{}, {"team": "unheard-of"}, {"team": "t"}, {"team": "u"}]
    assert [(await world.ask(idp.access_token(sub="eve", **claims))).status for claims in told] == [429] * 3 + [200]


async def test_a_budget_of_a_tenant_is_one_for_keys_and_tokens(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world(tenants=(Tenant(name="acme", budgets=(Budget(tokens=1_500, thresholds=()),)),))
    (key,) = world.app._settings.keys
    world.reload(keys=(msgspec.structs.replace(key, tenant="acme"),))
    credentials = [world.key, idp.access_token(), idp.access_token(sub="bob")] * 40
    replies = [await world.ask(credential, max_tokens=50) for credential in credentials]
    spent = [n for n, reply in enumerate(replies) if reply.status != 200]
    assert spent, "the budget was enough for all"
    assert spent[0] > 2
    assert {n % 3 for n in spent} == {0, 1, 2}, "nobody has one alone"
    assert {reply.error["code"] for reply in replies[spent[0] :] if reply.status == 429} == {"insufficient_quota"}


async def test_a_key_called_like_a_token_has_its_own_limits(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world(tenants=(Tenant(name="acme", limits=(Limit(count="requests", most=1, per="hour"),)),))
    (key,) = world.app._settings.keys
    world.reload(keys=(msgspec.structs.replace(key, name="corp:alice"),))
    assert [(await world.ask(world.key)).status for _ in range(3)] == [200, 200, 200]
    assert [(await world.ask(idp.access_token())).status for _ in range(2)] == [200, 429]


async def test_bills_name_whom_a_token_stands_for(open_world: Open, idp: IdentityProvider) -> None:
    tenant = Tenant(
        name="acme",
        id="a" * 32,
        teams=(Team(name="core", id="b" * 32),),
        users=(User(name="core/corp:alice", team="core", id="c" * 32),),
    )
    world = await open_world(tenants=(tenant,), claims=ClaimNames(team="team"))

    def payer(**claims: Any) -> Payer:
        found = world.app._pipeline.snapshot.tokens.find(b"Bearer " + idp.access_token(**claims), "req_1")
        return payer_of(found)

    assert payer() == Payer("a" * 32, "b" * 32, "c" * 32, "corp:alice")
    assert payer(sub="bob", team="core") == Payer("a" * 32, "b" * 32, "corp:bob", "corp:bob")
    assert payer(team="else") == Payer("a" * 32, "b" * 32, "c" * 32, "corp:alice")
    assert payer(sub="bob", team="else") == Payer("a" * 32, "else", "corp:bob", "corp:bob")
    long = payer(sub="x" * 256, team="y" * 256)
    assert max(map(len, msgspec.structs.astuple(long))) == 128, "a ledger takes 1,024 letters together"


async def test_settings_that_cannot_be_used_leave_what_was(open_world: Open, idp: IdentityProvider) -> None:
    from fastpath.settings.problem import SettingsError

    world = await open_world()
    for broken in ({"audience": ()}, {"ca_file": "/nowhere/ca.pem"}):
        with pytest.raises(SettingsError, match="corp"):
            world.reload(issuers=(issuer_of(idp, **broken),))
        assert (await world.ask(idp.access_token())).status == 200


async def test_nobody_loads_cryptography_for_nothing(bench: Bench) -> None:
    served = await bench.serve(Settings(listen=Listen(port=0)))
    assert served.gateway.app is not None
    assert served.gateway.app._issuers is None
