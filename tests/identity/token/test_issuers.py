"""All issuers of a process: what a change of settings keeps, what the operator is told, and that all tasks end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest

from fastpath.identity.token.identity import Claims
from fastpath.identity.token.issuers import Issuers
from fastpath.identity.token.refusal import Reason, Refusal
from fastpath.identity.token.rotation import IssuerKeys
from fastpath.identity.token.trust import TrustedIssuer
from scheduler.clock import ManualClock
from tests.idp.server import IdentityProvider


async def at_once(host: str) -> list[str]:
    return [host]


class Process:
    """The issuers of one process in virtual time, and what they said."""

    def __init__(self) -> None:
        self.clock = ManualClock(now=1_700_000_000.0)
        self.said: list[str] = []
        self.issuers = Issuers(self.clock.monotonic, self.clock.now, at_once, self.said.append)

    def judge(self, token: bytes) -> Claims | Refusal:
        return self.issuers.verifier.verify(token, self.issuers.now())

    def keys(self, name: str) -> IssuerKeys:
        return self.issuers._keys[name]


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    made = Process()
    yield made
    await made.issuers.close()
    assert not [task for task in asyncio.all_tasks() if "keys of issuer" in task.get_name()]


@pytest.fixture
async def idps(process: Process) -> AsyncIterator[list[IdentityProvider]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(IdentityProvider(process.clock.now)) for _ in range(2)]


def trust(idp: IdentityProvider, name: str = "one", **changed: object) -> TrustedIssuer:
    made = TrustedIssuer(
        name=name, issuer=idp.issuer, audience=("https://gateway.test",), allow_hosts=("127.0.0.1",), tenant="acme"
    )
    return msgspec.structs.replace(made, **changed)


async def test_all_issuers_are_asked_at_once_and_each_speaks_for_itself(
    process: Process, idps: list[IdentityProvider]
) -> None:
    process.issuers.use([trust(idps[0]), trust(idps[1], "two")])
    assert process.judge(idps[0].access_token()) == Refusal(Reason.NO_KEYS, "one")
    await process.issuers.begin(5)
    for idp, name in zip(idps, ("one", "two"), strict=True):
        found = process.judge(idp.access_token())
        assert isinstance(found, Claims)
        assert found.principal == f"{name}:alice"
    crossed = idps[0].key.token({"iss": idps[1].issuer, "aud": "https://gateway.test", "sub": "x", "exp": 2e9})
    assert process.judge(crossed) == Refusal(Reason.BAD_SIGNATURE, "two")


async def test_a_silent_provider_does_not_hold_up_the_others(process: Process, idps: list[IdentityProvider]) -> None:
    idps[0].moods.silent = True
    process.issuers.use([trust(idps[0]), trust(idps[1], "two")])
    loop = asyncio.get_running_loop()
    began = loop.time()
    await process.issuers.begin(0.2)
    assert loop.time() - began >= 0.2
    assert isinstance(process.judge(idps[1].access_token()), Claims)
    assert process.issuers.renewing("one"), "nobody waited for as long as a fetch may take"
    assert not process.issuers.renewing("two")
    assert not process.issuers.renewing("nobody")


async def test_what_did_not_change_is_kept(process: Process, idps: list[IdentityProvider]) -> None:
    one, two = idps
    process.issuers.use([trust(one)])
    await process.issuers.begin(5)
    verifier, token = process.issuers.verifier, one.access_token()
    first = verifier.find(token, process.issuers.now())
    process.issuers.use([trust(one)])
    assert process.issuers.verifier is verifier, "a reload of something else forgets no token"
    assert process.issuers.verifier.find(token, process.issuers.now()) is first

    process.issuers.use([trust(one, tenant="umbrella"), trust(two, "two")])
    found = process.judge(token)
    assert isinstance(found, Claims)
    assert found.tenant == "umbrella", "by the new settings, and at once, because the keys are the same"
    await process.issuers.begin(5)
    assert (one.asked["/jwks"], two.asked["/jwks"]) == (1, 1)

    process.issuers.use([trust(two, "two")])
    assert process.judge(token) == Refusal(Reason.UNKNOWN_ISSUER)
    assert (
        len([task for task in asyncio.all_tasks() if task.get_name() == "keys of issuer one" and not task.done()]) <= 2
    )
    await asyncio.sleep(0)
    assert {task.get_name() for task in asyncio.all_tasks() if "keys of issuer" in task.get_name()} == {
        "keys of issuer two"
    }


async def test_keys_of_another_place_are_not_inherited(process: Process, idps: list[IdentityProvider]) -> None:
    process.issuers.use([trust(idps[0])])
    await process.issuers.begin(5)
    process.issuers.use([trust(idps[1])])
    assert process.judge(idps[1].access_token()) == Refusal(Reason.NO_KEYS, "one")
    await process.issuers.begin(5)
    assert isinstance(process.judge(idps[1].access_token()), Claims)


async def test_settings_that_are_not_safe_change_nothing(process: Process, idps: list[IdentityProvider]) -> None:
    process.issuers.use([trust(idps[0])])
    await process.issuers.begin(5)
    for wrong in (
        [trust(idps[0], audience=())],
        [trust(idps[0]), trust(idps[0], "again")],
        [trust(idps[0]), trust(idps[1], "two", ca_file="/nowhere/ca.pem")],
    ):
        with pytest.raises(ValueError, match="issuer"):
            process.issuers.use(wrong)
        assert isinstance(process.judge(idps[0].access_token()), Claims)
        assert list(process.issuers._keys) == ["one"]


async def test_denied_users_and_tokens_are_refused_remembered_or_not(
    process: Process, idps: list[IdentityProvider]
) -> None:
    process.issuers.use([trust(idps[0])])
    await process.issuers.begin(5)
    alice, undated = idps[0].access_token(), idps[0].access_token(iat=None)
    bob = [idps[0].access_token(sub="bob", jti=f"t-{n}") for n in range(2)]
    assert all(isinstance(process.judge(token), Claims) for token in (alice, undated, *bob))
    process.issuers.use([trust(idps[0], deny_users=("alice",), deny_tokens=("t-1",))])
    revoked = Refusal(Reason.REVOKED, "one")
    assert [process.judge(token) for token in (alice, undated, bob[1])] == [revoked] * 3
    assert isinstance(process.judge(bob[0]), Claims)


async def test_the_operator_is_told_the_same_thing_seldom(process: Process, idps: list[IdentityProvider]) -> None:
    idps[0].moods.status = 500
    process.issuers.use([trust(idps[0])])
    await process.issuers.begin(5)
    (keys,) = process.issuers._keys.values()
    for _ in range(60):
        process.clock.advance(30)
        await keys.refresh()
    assert len([line for line in process.said if "not renewed" in line]) == 4, "at the start and every ten minutes"
    process.said.clear()
    for _ in range(180):
        process.issuers.note(Refusal(Reason.EXPIRED, "one"), "request req_1")
        process.issuers.note(Refusal(Reason.UNKNOWN_ISSUER), "request req_2")
        process.clock.advance(1)
    assert (
        process.said
        == [
            "a token of issuer one is refused, expired: request req_1, and maybe more",
            "a token is refused, unknown_issuer: request req_2, and maybe more",
        ]
        * 3
    )


async def test_a_mistake_in_a_task_is_told_and_does_not_end_it(
    process: Process, idps: list[IdentityProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = asyncio.Event()
    lives = 0

    async def run(self: IssuerKeys) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            raise RuntimeError("bug")
        ran.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(IssuerKeys, "run", run)
    monkeypatch.setattr("fastpath.identity.token.issuers.STUMBLED", 0.0)
    process.issuers.use([trust(idps[0])])
    async with asyncio.timeout(30):
        await ran.wait()
    assert process.said == ["issuer one: a bug in renewing its keys, please report it: RuntimeError('bug')"]


def test_names_fit_what_keeps_them() -> None:
    def principal(user: str, issuer: str = "corp") -> str:
        return msgspec.structs.replace(CLAIMS, user=user, issuer=issuer).principal

    assert principal("alice") == "corp:alice"
    assert principal("") == "corp"
    one, other = principal("x" * 256), principal("x" * 255 + "y")
    assert one != other, "what is cut off is still told apart"
    assert len(one) == len(other) == len(principal("é" * 200, "n" * 128)) == 128


CLAIMS = Claims(issuer="corp", tenant="", team="", user="", scopes=(), token_id="", issued=None, expires=0.0)
