"""What runs, or is still being read, is held to what would be decided for it now: policies and tokens, on both doors.
Keys are in `test_scopes`, data classes in `test_residency`."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.mock import Fault
from fastpath.app import Gateway
from fastpath.settings import Conditions, Endpoint, Issuer, Key, Model, Policy, Tenant, TimeWindow, User
from fastpath.settings.pepper import make_pepper
from fastpath.settings.tenancy import Team, TokenScope
from fastpath.settings.token import KeyHasher
from loadtest.rig import Bench, Conversation, Upstream, post
from loadtest.rig.bench import RecordList, Served, make_settings
from loadtest.rig.conversation import PATIENCE
from tests.gateway.shifted import ShiftedClock
from tests.idp.server import IdentityProvider

P1 = ("x-fastpath-data-class", "P1")
Open = Callable[..., Awaitable["World"]]


class World:
    """A gateway that believes `idp`, with a key `ann` of acme/ann and a key `bob` of nobody's, before one mock server
    for each tier."""

    def __init__(
        self, served: Served, clock: ShiftedClock, idp: IdentityProvider, upstreams: dict[str, Upstream]
    ) -> None:
        self.served = served
        self.clock = clock
        self.idp = idp
        self.upstreams = upstreams

    async def send(self, caller: str | bytes, *headers: tuple[str, str], cut: int = 0, **more: Any) -> Conversation:
        """A request of which all but `cut` bytes are sent."""
        who = caller if isinstance(caller, str) else caller.decode()
        client = await self.served.open()
        body = {"model": "llama", "messages": [{"role": "user", "content": "x"}]} | more
        whole = post(body, headers=[("authorization", f"Bearer {who}"), *headers])
        client.send(whole[: len(whole) - cut])
        return client

    async def stream(self, caller: str | bytes, *headers: tuple[str, str], **more: Any) -> Conversation:
        """A stream of which two events have come."""
        client = await self.send(caller, *headers, stream=True, **more)
        await client.events(2)
        return client

    async def status(self, caller: str | bytes, *headers: tuple[str, str], path: str = "", **more: Any) -> int:
        who = caller if isinstance(caller, str) else caller.decode()
        body = {"model": "llama", "messages": [{"role": "user", "content": "x"}], "input": "x"} | more
        sent = [("authorization", f"Bearer {who}"), *headers]
        return (await self.served.ask(post(body, path or "/v1/chat/completions", headers=sent))).status

    def reload(self, **changed: Any) -> None:
        self.app.reload(msgspec.structs.replace(self.app._settings, **changed))

    def rule(self, **changed: Any) -> None:
        """Replaces the issuer by one that differs in this."""
        (issuer,) = self.app._settings.issuers
        self.reload(issuers=(msgspec.structs.replace(issuer, **changed),))

    def pass_over(self, seconds: float) -> None:
        """Lets time pass for both clocks; what is swept is swept by them."""
        self.clock.passed += seconds

    @property
    def app(self) -> Any:
        return self.served.gateway.app

    async def record(self, name: str) -> Any:
        async with asyncio.timeout(PATIENCE):
            while not (found := [each for each in self.served.records.all if each.key == name]):
                await asyncio.sleep(0.001)
        return found[-1]


@pytest.fixture
async def idp() -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider(time.time) as provider:
        yield provider


@pytest.fixture
async def open_world(door: str, bench: Bench, idp: IdentityProvider, tmp_path: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def open_world(
            *, tiers: tuple[Any, ...] = ("L1",), tokens: int = 1000, listen: Any = None, issuer: Any = None, **more: Any
        ) -> World:
            upstreams = {tier: await bench.mock(models=("llama", "small"), tokens=tokens, rate=50.0) for tier in tiers}
            hasher = KeyHasher(make_pepper(tmp_path / "state"))
            endpoints = tuple(
                Endpoint(url=upstream.url, name=tier, tier=tier, weight=1000 ** (len(tiers) - n), ttft=0.01 + n)
                for n, (tier, upstream) in enumerate(upstreams.items())
            )
            models = [Model(name=name, endpoints=endpoints) for name in ("llama", "small")]
            corp = Issuer(
                name="corp", issuer=idp.issuer, audience=("https://gateway.test",), tenant="acme",
                allow_hosts=("127.0.0.1",), **issuer or {},
            )  # fmt: skip
            options: dict[str, Any] = {
                "keys": (
                    Key(name="ann", hash=hasher.hash_text("ann"), tenant="acme", user="ann"),
                    Key(name="bob", hash=hasher.hash_text("bob")),
                ),
                "issuers": (corp,),
                "tenants": (Tenant(name="acme", users=(User(name="ann"),)), Tenant(name="other")),
                "state_dir": str(tmp_path / "state"),
                "data_class": "P2",
                "listen": {"door": door, **(listen or {})},
                "timeouts": {"idle": 3_600.0, "total": 3_600.0},  # clocks are set forward
            } | more
            records, clock = RecordList(), ShiftedClock()
            gateway = Gateway(make_settings(models, **options), records, clock)
            await stack.enter_async_context(gateway)
            return World(Served(gateway, records), clock, idp, upstreams)

        yield open_world


async def ended(client: Conversation) -> str:
    """The code of the error that ended a stream."""
    reply = await client.reply()
    assert reply.done == 0
    assert reply.in_band is not None
    code: str = reply.in_band["code"]
    return code


async def goes_on(client: Conversation) -> None:
    """Two more events come."""
    await client.events(len(client.reader.current.events) + 2)
    client.leave()


# -- policies


@pytest.mark.parametrize(
    "rule",
    [
        {"subjects": ("user:ann",)},
        {"subjects": ("key:ann",)},
        {"tenants": ("acme",)},
        {"tenants": ("acme",), "models": ("llama",)},
        {"tenants": ("acme",), "paths": ("/v1/chat/*",)},
        {"tenants": ("acme",), "tiers": ("L1",)},
        {"classes": ("P1",)},
        {"tenants": ("acme",), "networks": ("127.0.0.0/8",)},
        {"unless": Conditions(subjects=("key:bob",))},
    ],
    ids=lambda rule: "+".join(rule),
)
async def test_a_policy_that_denies_ends_what_runs_in_band(open_world: Open, quiet: Any, rule: dict[str, Any]) -> None:
    world = await open_world()
    ann, bob = await world.stream("ann", P1), await world.stream("bob")
    world.reload(
        policies=(Policy(name="vain", effect="deny", models=("small",)), Policy(name="new", effect="deny", **rule))
    )
    assert await ended(ann) == "policy_blocked"
    record = await world.record("ann")
    assert (record.status, record.outcome, record.error, record.policy) == (200, "broken", "policy_blocked", "new")
    assert record.output_tokens >= 2
    await goes_on(bob)
    ann.leave()
    await quiet(world.served).wait()


@pytest.mark.parametrize(
    "rule",
    [
        {"subjects": ("user:ben",)},
        {"models": ("small",)},
        {"tiers": ("L2", "L0")},
        {"classes": ("P0", "P1")},
        {"networks": ("10.0.0.0/8",)},
        {"tenants": ("acme",), "unless": Conditions(tiers=("L1",))},
        {"times": (TimeWindow(days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), start="00:00", end="00:01"),)},
    ],
    ids=lambda rule: "+".join(rule),
)
async def test_a_policy_that_does_not_deny_it_ends_nothing(open_world: Open, rule: dict[str, Any]) -> None:
    world = await open_world(tiers=("L1", "L2"))
    ann = await world.stream("ann")
    world.reload(policies=(Policy(name="new", effect="deny", **rule),))
    await goes_on(ann)


async def test_a_default_that_turned_ends_what_no_rule_allows(open_world: Open) -> None:
    world = await open_world()
    ann, bob = await world.stream("ann"), await world.stream("bob")
    world.reload(policies=(Policy(name="few", effect="allow", subjects=("key:bob",)),), policy_default="deny")
    assert await ended(ann) == "policy_blocked"
    await goes_on(bob)


async def test_a_caller_that_moved_to_where_a_rule_denies_is_ended(open_world: Open) -> None:
    """The rules are as they were; whom they speak of is not."""
    world = await open_world(policies=(Policy(name="new", effect="deny", tenants=("other",)),))
    ann = await world.stream("ann")
    first, second = world.app._settings.keys
    world.reload(keys=(msgspec.structs.replace(first, tenant="other", user=None), second))
    assert await ended(ann) == "policy_blocked"


async def test_an_endpoint_that_became_of_a_denied_tier_ends_what_it_answers(open_world: Open) -> None:
    world = await open_world(policies=(Policy(name="home", effect="deny", tenants=("acme",), tiers=("L2",)),))
    ann, bob = await world.stream("ann"), await world.stream("bob")
    models = tuple(
        msgspec.structs.replace(model, endpoints=(msgspec.structs.replace(model.endpoints[0], tier="L2"),))
        for model in world.app._settings.models
    )
    world.reload(models=models)
    assert await ended(ann) == "policy_blocked"
    assert (await world.record("ann")).policy == "home"
    await goes_on(bob)


async def test_a_retry_meets_the_new_policy(open_world: Open) -> None:
    """It waited for its first attempt to fail while the rule came."""
    world = await open_world(tiers=("L1", "L2"), tokens=4)
    world.upstreams["L1"].script(Fault(status=500, ttft=0.3))
    client = await world.send("ann")
    async with asyncio.timeout(PATIENCE):
        while not world.upstreams["L1"].asked:
            await asyncio.sleep(0.001)
    world.reload(policies=(Policy(name="new", effect="deny", tiers=("L2",)),))
    assert (await client.reply()).status == 502
    assert world.upstreams["L2"].asked == 0
    client.leave()


async def test_a_request_that_is_still_being_read_meets_the_new_policy(open_world: Open) -> None:
    world = await open_world()
    client = await world.send("ann", cut=5)
    async with asyncio.timeout(PATIENCE):
        while not world.app._door.expecting:
            await asyncio.sleep(0.001)
    world.reload(policies=(Policy(name="new", effect="deny", tenants=("acme",)),))
    client.send(b'x"}]}')
    reply = await client.reply()
    assert (reply.status, reply.error["code"]) == (403, "policy_blocked")
    record = await world.record("ann")
    assert (record.attempts, record.policy, world.upstreams["L1"].asked) == (0, "new", 0)
    client.leave()


# -- tokens


TIGHTER: dict[str, tuple[dict[str, Any], str]] = {
    "token": ({"deny_tokens": ("one",)}, "invalid_api_key"),
    "user": ({"deny_users": ("alice",)}, "invalid_api_key"),
    "audience": ({"audience": ("https://other.test",)}, "invalid_api_key"),
    "algorithm": ({"algorithms": ("RS256",)}, "invalid_api_key"),
    "models": ({"models": ("small",)}, "permission_denied"),
    "paths": ({"paths": ("/v1/embeddings",)}, "permission_denied"),
    "networks": ({"networks": ("10.0.0.0/8",)}, "permission_denied"),
    "data_class": ({"data_class": "P2"}, "permission_denied"),
    "listed": ({"members": "listed"}, "permission_denied"),
}


@pytest.mark.parametrize("how", TIGHTER)
async def test_a_token_that_would_be_refused_now_takes_its_stream_along(
    open_world: Open, idp: IdentityProvider, quiet: Any, how: str
) -> None:
    world = await open_world()
    change, code = TIGHTER[how]
    alice, ann = await world.stream(idp.access_token(jti="one"), P1), await world.stream("ann", P1)
    world.rule(**change)
    assert await ended(alice) == code
    record = await world.record("corp:alice")
    assert (record.status, record.outcome, record.error) == (200, "broken", code)
    assert record.output_tokens >= 2
    await goes_on(ann)
    alice.leave()
    await quiet(world.served).wait()


@pytest.mark.parametrize("gone", ["issuers", "tenants"])
async def test_an_issuer_or_a_tenant_that_is_gone_takes_streams_along(
    open_world: Open, idp: IdentityProvider, gone: str
) -> None:
    world = await open_world()
    alice, bob = await world.stream(idp.access_token()), await world.stream("bob")
    if gone == "issuers":
        world.reload(issuers=())
    else:
        world.reload(tenants=(), keys=world.app._settings.keys[1:])
    assert await ended(alice) == ("invalid_api_key" if gone == "issuers" else "permission_denied")
    await goes_on(bob)


async def test_what_does_not_touch_a_token_ends_nothing(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world()
    running = [await world.stream(idp.access_token(jti="two")), await world.stream(idp.access_token(sub="bob"), P1)]
    world.rule(
        deny_tokens=("one",), deny_users=("eve",), models=("llama",), paths=("/v1/chat/completions",),
        networks=("127.0.0.0/8",), data_class="P1",
    )  # fmt: skip
    for client in running:
        await goes_on(client)


async def test_a_token_in_the_other_header_ends_too(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world()
    client = await world.served.open()
    body = {"model": "llama", "messages": [{"role": "user", "content": "x"}], "stream": True}
    client.send(post(body, headers=[("x-api-key", idp.access_token(jti="one").decode())]))
    await client.events(2)
    world.rule(deny_users=("bob",))
    await client.events(6)
    world.rule(deny_tokens=("one",))
    assert await ended(client) == "invalid_api_key"


async def test_a_token_that_expires_takes_its_stream_along(open_world: Open, idp: IdentityProvider) -> None:
    """Its leeway included; nobody publishes anything."""
    world = await open_world(issuer={"leeway": 2.0})
    short, long = idp.access_token(exp=time.time() + 20), idp.access_token(sub="bob", exp=time.time() + 4000)
    alice, bob = await world.stream(short), await world.stream(long)
    world.pass_over(10.0)
    await alice.events(len(alice.reader.current.events) + 2)
    world.pass_over(13.0)
    assert await ended(alice) == "token_expired"
    assert (await world.record("corp:alice")).outcome == "broken"
    await goes_on(bob)


async def test_a_clock_that_jumps_ends_no_stream(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world()
    alice = await world.stream(idp.access_token(exp=time.time() + 100))
    looked = world.app._recall._looked
    world.clock.stepped = 3_600.0
    async with asyncio.timeout(PATIENCE):
        while world.app._recall._looked == looked or world.app._recall._left:
            await asyncio.sleep(0.01)
    await goes_on(alice)


async def test_while_nobody_knows_the_keys_a_stream_goes_on_and_then_it_is_judged(
    open_world: Open, idp: IdentityProvider
) -> None:
    world = await open_world()
    alice = await world.stream(idp.access_token())
    idp.moods.silent = True
    world.rule(jwks_uri=f"{idp.issuer}/jwks?other")
    await alice.events(len(alice.reader.current.events) + 10)
    assert await world.status(idp.access_token()) == 503
    idp.rotate(overlap=False)
    idp.moods.silent = False
    world.pass_over(31.0)
    for keys in world.app._issuers._keys.values():
        keys._news.set()
    assert await ended(alice) == "invalid_api_key"


async def test_a_signing_key_that_is_taken_back_takes_streams_along(open_world: Open, idp: IdentityProvider) -> None:
    """Nobody publishes anything: its keys are fetched as ever. A key beside the old one takes nothing back."""
    world = await open_world()
    tokens = [idp.access_token(exp=time.time() + 4000)]
    idp.rotate()
    tokens.append(idp.access_token(exp=time.time() + 4000, sub="bob"))
    (keys,) = world.app._issuers._keys.values()

    async def fetched(count: int) -> None:
        world.pass_over(301.0)
        keys._news.set()
        async with asyncio.timeout(PATIENCE):
            while keys.fetches < count or keys.renewing:
                await asyncio.sleep(0.001)

    first = await world.stream(tokens[0])
    await fetched(2)
    second = await world.stream(tokens[1])
    await first.events(len(first.reader.current.events) + 2)
    idp.published = [idp.key.jwk()]
    await fetched(3)
    assert await ended(first) == "invalid_api_key"
    await goes_on(second)


# -- what an issuer's tokens may be used for


async def test_paths_of_an_issuer(open_world: Open, idp: IdentityProvider) -> None:
    world = await open_world(tokens=4, issuer={"paths": ("/v1/chat/completions", "/v1/models")})
    token = idp.access_token()
    assert await world.status(token) == 200
    assert await world.status(token, path="/v1/embeddings") == 403
    assert (await world.record("corp:alice")).attempts == 0
    assert await world.status("ann", path="/v1/embeddings") == 200, "a key is not held to it"
    headers = [("authorization", f"Bearer {token.decode()}")]
    for path in ("/v1/models", "/v1/models/llama"):
        assert (await world.served.ask(post(b"", path, method="GET", headers=headers))).status == 200


@pytest.mark.parametrize(
    ("networks", "forwarded", "status"),
    [
        (("10.0.0.0/8",), None, 403),
        (("127.0.0.0/8",), None, 200),
        (("10.0.0.0/8",), "10.1.2.3", 200),
        (("10.0.0.0/8",), "10.1.2.3, 203.0.113.9", 403),
        (("2001:db8::/32", "203.0.113.9"), "203.0.113.9", 200),
    ],
)
async def test_networks_of_an_issuer(
    open_world: Open, idp: IdentityProvider, networks: tuple[str, ...], forwarded: str | None, status: int
) -> None:
    world = await open_world(tokens=4, issuer={"networks": networks}, listen={"trusted_proxies": ("127.0.0.1",)})
    headers = [("x-forwarded-for", forwarded)] if forwarded else []
    assert await world.status(idp.access_token(), *headers) == status
    assert await world.status("ann", *headers) == 200, "a key is not held to it"


@pytest.mark.parametrize(
    ("ceiling", "said", "status", "recorded"),
    [
        (None, "P0", 200, "P0"),
        ("P1", None, 200, "P1"),
        ("P1", "P2", 200, "P2"),
        ("P1", "P1", 200, "P1"),
        ("P1", "P0", 403, None),
        ("P2", "P1", 403, None),
    ],
)
async def test_a_ceiling_of_an_issuer(
    open_world: Open, idp: IdentityProvider, ceiling: str | None, said: str | None, status: int, recorded: str | None
) -> None:
    world = await open_world(tokens=4, issuer={"data_class": ceiling})
    headers = [("x-fastpath-data-class", said)] if said else []
    assert await world.status(idp.access_token(), *headers) == status
    record = await world.record("corp:alice")
    assert (record.status, record.data_class) == (status, recorded)


HERE, FAR = ("127.0.0.0/8",), ("10.0.0.0/8",)


@pytest.mark.parametrize(
    ("issuer", "tenant", "team", "user", "status"),
    [
        ({}, {"networks": HERE}, {"networks": HERE}, {"networks": HERE}, 200),
        ({"networks": FAR}, {"networks": HERE}, {}, {}, 403),
        ({"networks": HERE}, {"networks": FAR}, {}, {}, 403),
        ({}, {}, {"networks": FAR}, {}, 403),
        ({}, {}, {}, {"networks": FAR}, 403),
        ({}, {}, {}, {"paths": ("/v1/embeddings",)}, 403),
        ({"paths": ("/v1/chat/completions",)}, {}, {"paths": ("/v1/embeddings", "/v1/chat/completions")}, {}, 200),
        ({}, {"data_class": "P1"}, {}, {}, 200),
        ({"data_class": "P0"}, {"data_class": "P1"}, {"data_class": "P2"}, {}, 403),
        ({"data_class": "P2"}, {"data_class": "P0"}, {}, {}, 403),
    ],
)
async def test_each_of_whom_a_token_stands_for_may_limit_it(
    open_world: Open, idp: IdentityProvider, issuer: Any, tenant: Any, team: Any, user: Any, status: int
) -> None:
    """Nobody widens what another narrowed."""
    owners = Tenant(
        name="acme",
        token_scope=TokenScope(**tenant),
        teams=(Team(name="core", token_scope=TokenScope(**team)),),
        users=(User(name="ann"), User(name="corp:alice", team="core", token_scope=TokenScope(**user))),
    )
    world = await open_world(tokens=4, issuer=issuer, tenants=(owners,))
    assert await world.status(idp.access_token(), P1) == status
    assert await world.status("ann", P1) == 200, "keys of the tenant are not held to it"


@pytest.mark.parametrize("owner", ["tenant", "team", "user"])
async def test_an_owner_that_is_narrowed_ends_what_its_tokens_run(
    open_world: Open, idp: IdentityProvider, owner: str
) -> None:
    def tenants(**scope: Any) -> tuple[Tenant, ...]:
        of = {owner: TokenScope(networks=FAR)} if scope else {}
        user = User(name="corp:alice", team="core", token_scope=of.get("user"))
        teams = (Team(name="core", token_scope=of.get("team")),)
        return (Tenant(name="acme", token_scope=of.get("tenant"), teams=teams, users=(User(name="ann"), user)),)

    world = await open_world(tenants=tenants())
    alice, ann = await world.stream(idp.access_token()), await world.stream("ann")
    world.reload(tenants=tenants(narrow=True))
    assert await ended(alice) == "permission_denied"
    await goes_on(ann)


# -- another model


@pytest.mark.parametrize(
    "change",
    [
        {"policies": (Policy(name="new", effect="deny", models=("small",)),)},
        {"policies": (Policy(name="new", effect="deny", models=("small",), tiers=("L2",)),)},
        {"keys": "llama"},
        {"models": "small"},
        {"models": "P0"},
        {},
    ],
    ids=["policy", "tier", "key", "gone", "class", "none"],
)
async def test_a_request_moves_only_to_a_model_that_it_may_use_now(open_world: Open, change: dict[str, Any]) -> None:
    """Its own fails while settings come that close the other one."""
    world = await open_world(tokens=4, tiers=("L1", "L2"))
    first, second = world.app._settings.models
    first = msgspec.structs.replace(first, endpoints=first.endpoints[:1], fallbacks=("small",))
    second = msgspec.structs.replace(second, endpoints=second.endpoints[1:])
    world.reload(models=(first, second))
    world.upstreams["L1"].script(Fault(status=500, ttft=0.3))
    client = await world.send("ann")
    async with asyncio.timeout(PATIENCE):
        while not world.upstreams["L1"].asked:
            await asyncio.sleep(0.001)
    if "keys" in change:
        ann, bob = world.app._settings.keys
        change = {"keys": (msgspec.structs.replace(ann, models=("llama",)), bob)}
    if change.get("models") == "small":
        change = {"models": (msgspec.structs.replace(first, fallbacks=()),)}
    status = 502 if change else 200
    if change.get("models") == "P0":
        status = 503  # its data may not go there: the caller reads why
        change = {"models": (first, msgspec.structs.replace(second, data_class="P0"))}
    world.reload(**change)
    assert (await client.reply()).status == status
    assert world.upstreams["L2"].asked == (0 if change else 1)
    client.leave()
