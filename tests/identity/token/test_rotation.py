"""Keys over time, against a real provider: rotation, a flood of unknown keys, a provider that is down or bad."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from fastpath.identity.token.fetch import Answer, Ask, Caps, GuardedFetch
from fastpath.identity.token.identity import Claims
from fastpath.identity.token.refusal import Reason, Refusal
from fastpath.identity.token.rotation import IssuerKeys, Pace
from fastpath.identity.token.trust import TrustedIssuer
from fastpath.identity.token.verifier import TokenVerifier
from scheduler.clock import ManualClock
from tests.idp.server import IdentityProvider
from tests.idp.signer import SigningKey

DISCOVERY = "/.well-known/openid-configuration"


async def at_once(host: str) -> list[str]:
    return [host]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def idp(clock: ManualClock) -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider(clock.now) as provider:
        yield provider


class Node:
    """A worker as far as tokens go: keys, verifier, what it said."""

    def __init__(self, idp: IdentityProvider, clock: ManualClock, jwks_uri: str = "") -> None:
        self.said: list[str] = []
        self.clock = clock
        self.trusted = TrustedIssuer(
            name="idp",
            issuer=idp.issuer,
            audience=("https://gateway.test",),
            jwks_uri=jwks_uri,
            allow_hosts=("127.0.0.1",),
        )
        fetch = GuardedFetch(at_once, frozenset(self.trusted.allow_hosts), caps=Caps(seconds=5, body=65536))
        self.fetched = asyncio.Queue[str]()

        async def reporting(ask: Ask, /) -> Answer:
            answer = await fetch(ask)
            self.fetched.put_nowait(ask.url)  # whoever waits for it wakes up after `refresh` is through
            return answer

        self.keys = IssuerKeys(self.trusted, reporting, clock.monotonic, self.said.append)
        self.verifier = TokenVerifier([self.keys])

    def judge(self, token: bytes) -> str:
        found = self.verifier.verify(token, self.clock.now())
        return "" if isinstance(found, Claims) else str(found.reason)

    async def turn(self) -> None:
        """What `run` does between two sleeps."""
        self.keys.expire()
        if self.keys.due_in() <= 0:
            await self.keys.refresh()


@pytest.fixture
async def node(idp: IdentityProvider, clock: ManualClock) -> Node:
    node = Node(idp, clock)
    assert await node.keys.refresh()
    return node


async def test_a_token_of_the_provider_is_believed_once_its_keys_are_here(
    idp: IdentityProvider, clock: ManualClock
) -> None:
    node = Node(idp, clock)
    assert node.judge(idp.access_token()) == "no_keys"
    await node.turn()
    assert node.judge(idp.access_token()) == ""
    assert idp.asked == {DISCOVERY: 1, "/jwks": 1}


async def test_with_a_jwks_uri_nothing_is_discovered(idp: IdentityProvider, clock: ManualClock) -> None:
    node = Node(idp, clock, f"{idp.issuer}/jwks?version=1")
    await node.turn()
    assert node.judge(idp.access_token()) == ""
    assert idp.asked == {"/jwks": 1}


async def test_rotation_with_overlap_refuses_nobody(idp: IdentityProvider, node: Node) -> None:
    before = idp.access_token(exp=idp.now() + 3600)
    assert node.judge(before) == ""
    next_key = SigningKey("key-2")
    idp.published.append(next_key.jwk())  # published first, used later, as good providers do
    node.clock.advance(300)
    await node.turn()
    idp.key = next_key
    assert node.judge(idp.access_token()) == ""
    assert node.judge(before) == ""


async def test_a_key_that_signs_at_once_is_fetched_when_a_token_names_it(idp: IdentityProvider, node: Node) -> None:
    old = idp.access_token(exp=idp.now() + 3600)
    idp.rotate()
    node.clock.advance(31)
    assert node.judge(idp.access_token()) == "unknown_key"
    await node.turn()
    assert node.judge(idp.access_token()) == ""
    assert node.judge(old) == ""


async def test_a_removed_key_proves_nothing_after_the_next_fetch(idp: IdentityProvider, node: Node) -> None:
    old = idp.access_token(exp=idp.now() + 3600)
    assert node.judge(old) == ""
    idp.rotate(overlap=False)
    node.clock.advance(300)
    await node.turn()
    assert node.judge(old) == "unknown_key"


async def test_a_flood_of_unknown_keys_makes_one_fetch(idp: IdentityProvider, node: Node) -> None:
    """Ten seconds of a flood, then thirty more: one fetch at most every 30 s, whatever the tokens ask for."""
    node.clock.advance(30)
    for second in range(10):
        for number in range(200):
            token = SigningKey.token(
                idp.key, {"iss": idp.issuer, "aud": "https://gateway.test", "exp": 2e9}, kid=f"{second}-{number}"
            )
            assert node.judge(token) == "unknown_key"
            await node.turn()
        node.clock.advance(1)
    assert idp.asked["/jwks"] == 2
    node.clock.advance(21)
    await node.turn()
    assert idp.asked["/jwks"] == 3, "what was asked for in the meantime is fetched once the pause is over"
    node.clock.advance(31)
    await node.turn()
    assert idp.asked["/jwks"] == 3, "and nothing more, when nobody asks"


async def test_the_background_task_fetches_when_it_is_wanted(idp: IdentityProvider, clock: ManualClock) -> None:
    """`run` itself, in real time: a first fetch, then one because of a token, without waiting for the next regular."""
    node = Node(idp, clock, f"{idp.issuer}/jwks")
    task = asyncio.create_task(node.keys.run())
    try:
        await asyncio.wait_for(node.fetched.get(), 20)
        assert node.judge(idp.access_token()) == ""
        idp.rotate()
        clock.advance(31)
        assert node.judge(idp.access_token()) == "unknown_key"
        await asyncio.wait_for(node.fetched.get(), 20)
        assert node.judge(idp.access_token()) == ""
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_keys_are_used_while_the_provider_is_down_but_not_for_ever(idp: IdentityProvider, node: Node) -> None:
    await idp.stop()
    for _ in range(23):
        node.clock.advance(3600)
        await node.turn()
        assert node.judge(idp.access_token()) == ""
    assert node.keys.age == 23 * 3600
    node.clock.advance(3601)
    await node.turn()
    assert node.judge(idp.access_token()) == "no_keys"
    assert any("too old" in line for line in node.said)
    assert all("127.0.0.1 cannot be reached" in line for line in node.said if "not renewed" in line)


async def test_a_provider_that_is_down_is_asked_every_half_minute(idp: IdentityProvider, node: Node) -> None:
    idp.moods.status = 503
    node.clock.advance(300)
    for _ in range(120):
        await node.turn()
        node.clock.advance(1)
    assert idp.asked["/jwks"] + idp.asked[DISCOVERY] == 2 + 4
    idp.moods.status = 0
    await node.turn()
    assert node.keys.age == 0


BAD_SETS: dict[str, bytes] = {
    "nothing": b'{"keys":[]}',
    "no JSON": b"<html>",
    "another shape": b'["key"]',
    "a private key": msgspec.json.encode({"keys": [SigningKey("k").jwk(d="AA")]}),
    "a shared secret": b'{"keys":[{"kty":"oct","kid":"k","k":"AAAA"}]}',
}


@pytest.mark.parametrize("body", BAD_SETS.values(), ids=BAD_SETS)
async def test_a_broken_key_set_never_replaces_keys_that_work(body: bytes, idp: IdentityProvider, node: Node) -> None:
    idp.moods.paths, idp.moods.body = ("/jwks",), body
    assert not await node.keys.refresh()
    assert node.judge(idp.access_token()) == ""
    assert "1 stay in use" in node.said[-1]


async def test_a_discovery_document_of_another_issuer_is_refused(idp: IdentityProvider, clock: ManualClock) -> None:
    idp.moods.issuer, idp.moods.paths = "https://evil.test", ("/never",)
    node = Node(idp, clock)
    assert not await node.keys.refresh()
    assert "another issuer" in node.said[-1]
    assert idp.asked == {DISCOVERY: 1}


async def test_a_provider_that_moved_is_found_again(idp: IdentityProvider, node: Node) -> None:
    """The cached jwks_uri fails: the next fetch begins with discovery."""
    idp.moods.paths, idp.moods.status = ("/jwks",), 404
    assert not await node.keys.refresh()
    idp.moods.status = 0
    assert await node.keys.refresh()
    assert idp.asked == {DISCOVERY: 2, "/jwks": 3}


async def test_a_token_never_makes_the_verifier_wait(clock: ManualClock) -> None:
    """Synchronous by type; and nothing is scheduled that `run` does not own."""

    async def never(_: Ask, /) -> Answer:
        raise AssertionError("fetched on the hot path")

    trusted = TrustedIssuer(name="idp", issuer="https://idp.test", audience=("a",))
    keys = IssuerKeys(trusted, never, clock.monotonic, print)
    before = asyncio.all_tasks()
    token = SigningKey("k").token({"iss": trusted.issuer, "aud": "a", "exp": clock.now() + 60})
    assert TokenVerifier([keys]).verify(token, clock.now()) == Refusal(Reason.NO_KEYS, "idp")
    assert asyncio.all_tasks() == before


def test_the_pace_is_what_the_operator_was_told() -> None:
    assert Pace() == Pace(regular=300, least=30, keep=86400)


def test_only_fitting_headers_are_tokens() -> None:
    verify: Callable[[bytes | None, float], object] = TokenVerifier([]).authenticate
    for other in (None, b"", b"Bearer fp-0011-aa", b"Basic YTpi.x", b"a.b.c", b"Bearer"):
        assert verify(other, 0) is None
    for token in (b"Bearer a.b.c", b"bearer  a.b.c ", b"BEARER a.b.c"):
        assert verify(token, 0) == Refusal(Reason.MALFORMED)
