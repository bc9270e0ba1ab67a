"""People log in at a real provider: code + PKCE, and every piece of it that can be forged or mixed up."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
import pytest

from fastpath.identity.token.discovery import Provider, discover
from fastpath.identity.token.fetch import FetchProblem, GuardedFetch, resolve_by_system
from fastpath.identity.token.identity import Claims
from fastpath.identity.token.login import Callback, Client, Grant, Login, RelyingParty
from fastpath.identity.token.pending import PATIENCE, Logins
from fastpath.identity.token.refusal import Reason, Refusal
from fastpath.identity.token.rotation import IssuerKeys
from fastpath.identity.token.trust import ClaimNames, TrustedIssuer
from fastpath.identity.token.verifier import TokenVerifier
from fastpath.settings.secret import Secret
from scheduler.clock import ManualClock
from tests.idp.server import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, IdentityProvider
from tests.idp.signer import SigningKey

FETCH = GuardedFetch(resolve_by_system, frozenset({"127.0.0.1"}))
CLIENT = Client(client_id=CLIENT_ID, redirect_uri=REDIRECT_URI, secret=Secret(CLIENT_SECRET))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def idp(clock: ManualClock) -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider(clock.now) as provider:
        yield provider


@pytest.fixture
def keys(idp: IdentityProvider, clock: ManualClock) -> IssuerKeys:
    trusted = TrustedIssuer(
        name="idp",
        issuer=idp.issuer,
        audience=("https://gateway.test",),
        claims=ClaimNames(team="team"),
        allow_hosts=("127.0.0.1",),
    )
    return IssuerKeys(trusted, FETCH, clock.monotonic, print)


@pytest.fixture
async def party(idp: IdentityProvider, keys: IssuerKeys) -> RelyingParty:
    return RelyingParty(CLIENT, await discover(idp.issuer, FETCH), keys, FETCH)


async def browse(url: str) -> Callback:
    """What the browser brings back."""
    async with httpx.AsyncClient() as browser:
        answer = await browser.get(url, follow_redirects=False)
    assert answer.status_code == 302, answer.text
    location = answer.headers["location"]
    assert location.partition("?")[0] == REDIRECT_URI
    return msgspec.convert(dict(parse_qsl(urlsplit(location).query)), Callback)


def refusal(why: Reason) -> Refusal:
    return Refusal(why, "idp")


async def test_code_and_pkce_from_end_to_end(
    idp: IdentityProvider, party: RelyingParty, keys: IssuerKeys, clock: ManualClock
) -> None:
    login = party.begin()
    query = dict(parse_qsl(urlsplit(login.url).query))
    assert query["code_challenge_method"] == "S256"
    assert login.code_verifier not in login.url
    assert login.binding not in login.url
    found = await party.finish(login, await browse(login.url), clock.now())
    assert isinstance(found, Claims)
    assert (found.user, found.principal) == ("alice", "idp:alice")
    assert idp.asked["/token"] == 1
    assert keys.fetches == 1, "the keys came with the first login"


async def test_a_login_differs_from_every_other(party: RelyingParty) -> None:
    secrets = [text for _ in range(50) for text in _secrets(party.begin())]
    assert len(set(secrets)) == 200
    assert min(map(len, secrets)) >= 43


def _secrets(login: Login) -> tuple[str, ...]:
    return login.state, login.nonce, login.code_verifier, login.binding


async def test_what_is_secret_is_not_shown(party: RelyingParty) -> None:
    login = party.begin()
    assert not any(text in repr(login) for text in _secrets(login))
    assert "CANARY" not in repr(Grant("CANARY", "Bearer", 1, "CANARY"))
    assert CLIENT_SECRET not in repr(CLIENT)


async def test_a_foreign_state_is_refused_before_anything_is_asked(
    idp: IdentityProvider, party: RelyingParty, clock: ManualClock
) -> None:
    mine, other = party.begin(), party.begin()
    callback = await browse(other.url)
    assert await party.finish(mine, callback, clock.now()) == refusal(Reason.WRONG_STATE)
    assert await party.finish(mine, Callback(state="\ud800é", code="x"), clock.now()) == refusal(Reason.WRONG_STATE)
    assert idp.asked["/token"] == 0


async def test_another_providers_callback_is_refused(party: RelyingParty, clock: ManualClock) -> None:
    login = party.begin()
    callback = msgspec.structs.replace(await browse(login.url), iss="https://evil.test")
    assert await party.finish(login, callback, clock.now()) == refusal(Reason.UNKNOWN_ISSUER)


async def test_a_login_that_the_provider_refused(
    idp: IdentityProvider, party: RelyingParty, clock: ManualClock
) -> None:
    login = party.begin()
    refused = await browse(login.url.replace("scope=openid", "scope=none"))
    assert refused.error == "invalid_request"
    assert await party.finish(login, refused, clock.now()) == refusal(Reason.PROVIDER_REFUSED)
    assert await party.finish(login, Callback(state=login.state), clock.now()) == refusal(Reason.PROVIDER_REFUSED)
    assert idp.asked["/token"] == 0


async def test_a_code_works_once_and_for_its_verifier_alone(party: RelyingParty, clock: ManualClock) -> None:
    login = party.begin()
    callback = await browse(login.url)
    assert isinstance(await party.finish(login, callback, clock.now()), Claims)
    assert await party.finish(login, callback, clock.now()) == refusal(Reason.PROVIDER_REFUSED)
    stolen = await browse(login.url)
    thief = msgspec.structs.replace(login, code_verifier="0" * 43)
    assert await party.finish(thief, stolen, clock.now()) == refusal(Reason.PROVIDER_REFUSED)


async def test_the_redirect_uri_is_the_configured_one(idp: IdentityProvider, keys: IssuerKeys) -> None:
    provider = await discover(idp.issuer, FETCH)
    client = msgspec.structs.replace(CLIENT, redirect_uri=REDIRECT_URI + "/")
    login = RelyingParty(client, provider, keys, FETCH).begin()
    async with httpx.AsyncClient() as browser:
        assert (await browser.get(login.url)).status_code == 400


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"nonce": "another"}, Reason.WRONG_NONCE),
        ({"nonce": None}, Reason.WRONG_NONCE),
        ({"nonce": 7}, Reason.WRONG_NONCE),
        ({"aud": "another client"}, Reason.WRONG_AUDIENCE),
        ({"aud": "https://gateway.test"}, Reason.WRONG_AUDIENCE),
        ({"aud": [CLIENT_ID, "another"]}, Reason.WRONG_AUDIENCE),
        ({"aud": [CLIENT_ID, "another"], "azp": "another"}, Reason.WRONG_AUDIENCE),
        ({"azp": "another"}, Reason.WRONG_AUDIENCE),
        ({"iss": "https://evil.test"}, Reason.UNKNOWN_ISSUER),
        ({"exp": 1}, Reason.EXPIRED),
        ({"exp": None}, Reason.MISSING_CLAIM),
        ({"iat": None}, Reason.MISSING_CLAIM),
        ({"iat": 2e9}, Reason.ISSUED_IN_FUTURE),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, Reason.MIXED_TOKENS),
        ({"sub": None}, Reason.MISSING_CLAIM),
    ],
)
async def test_an_id_token_is_checked(
    claims: dict[str, object], why: Reason, idp: IdentityProvider, party: RelyingParty, clock: ManualClock
) -> None:
    login = party.begin()
    idp.moods.paths, idp.moods.id_claims = ("/never",), claims
    assert await party.finish(login, await browse(login.url), clock.now()) == refusal(why)


async def test_two_audiences_with_our_name_on_it_are_fine(
    idp: IdentityProvider, party: RelyingParty, clock: ManualClock
) -> None:
    idp.moods.paths, idp.moods.id_claims = ("/never",), {"aud": [CLIENT_ID, "x"], "azp": CLIENT_ID, "at_hash": None}
    login = party.begin()
    assert isinstance(await party.finish(login, await browse(login.url), clock.now()), Claims)


async def test_a_forged_id_token_is_refused_and_asks_for_keys_once(
    idp: IdentityProvider, party: RelyingParty, keys: IssuerKeys, clock: ManualClock
) -> None:
    await keys.refresh()
    idp.key = SigningKey("forged")
    for _ in range(3):
        login = party.begin()
        assert await party.finish(login, await browse(login.url), clock.now()) == refusal(Reason.UNKNOWN_KEY)
    assert keys.fetches == 1, "the pause of 30 s counts for logins, too"


async def test_a_login_right_after_a_rotation_succeeds(
    idp: IdentityProvider, party: RelyingParty, keys: IssuerKeys, clock: ManualClock
) -> None:
    await keys.refresh()
    idp.rotate()
    clock.advance(31)
    login = party.begin()
    assert isinstance(await party.finish(login, await browse(login.url), clock.now()), Claims)
    assert keys.fetches == 2


async def test_a_wrong_client_secret_is_a_refusal(idp: IdentityProvider, keys: IssuerKeys, clock: ManualClock) -> None:
    client = msgspec.structs.replace(CLIENT, secret=Secret("wrong"))
    party = RelyingParty(client, await discover(idp.issuer, FETCH), keys, FETCH)
    login = party.begin()
    assert await party.finish(login, await browse(login.url), clock.now()) == refusal(Reason.PROVIDER_REFUSED)
    assert await party.client_credentials() == refusal(Reason.PROVIDER_REFUSED)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"access_token":1}', b'{"access_token":"a","token_type":"mac"}', b"[" * 9999]
)
async def test_a_broken_token_endpoint_is_a_problem_of_the_provider(
    body: bytes, idp: IdentityProvider, party: RelyingParty, clock: ManualClock
) -> None:
    login = party.begin()
    callback = await browse(login.url)
    idp.moods.body = body
    with pytest.raises(FetchProblem):
        await party.finish(login, callback, clock.now())
    idp.moods.status = 500
    with pytest.raises(FetchProblem, match="500"):
        await party.finish(login, callback, clock.now())


async def test_client_credentials_end_in_a_token_that_the_gateway_believes(
    party: RelyingParty, keys: IssuerKeys, clock: ManualClock
) -> None:
    grant = await party.client_credentials(("chat", "embeddings"))
    assert isinstance(grant, Grant)
    await keys.refresh()
    header = f"Bearer {grant.access_token}".encode()
    found = TokenVerifier([keys]).authenticate(header, clock.now())
    assert isinstance(found, Claims)
    assert (found.user, found.scopes) == ("service-1", ("chat", "embeddings"))


async def test_an_id_token_is_no_access_token(
    idp: IdentityProvider, party: RelyingParty, keys: IssuerKeys, clock: ManualClock
) -> None:
    await keys.refresh()
    token = idp.id_token("nonce", "access").encode()
    assert TokenVerifier([keys]).verify(token, clock.now()) == refusal(Reason.WRONG_AUDIENCE)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"code_challenge_methods_supported": ("plain",)}, "S256"),
        ({"token_endpoint": ""}, "endpoint"),
        ({"authorization_endpoint": ""}, "endpoint"),
        ({"authorization_endpoint": "javascript:alert(1)//"}, "browser"),
        ({"authorization_endpoint": "http://i/authorize"}, "https"),
    ],
)
async def test_a_provider_that_cannot_do_it_safely_is_refused_at_once(
    changed: dict[str, object], why: str, keys: IssuerKeys
) -> None:
    provider = Provider("i", "j", "https://i/authorize", "https://i/token")
    with pytest.raises(ValueError, match=why):
        RelyingParty(CLIENT, msgspec.structs.replace(provider, **changed), keys, FETCH)


# -- logins between their halves


async def test_a_login_is_given_back_once_to_its_browser(party: RelyingParty, clock: ManualClock) -> None:
    logins = Logins(clock.monotonic)
    login = party.begin()
    logins.keep(login)
    assert logins.take("another", login.binding) is None
    assert logins.take(login.state, login.binding) is login
    assert logins.take(login.state, login.binding) is None


async def test_another_browser_ends_the_login(party: RelyingParty, clock: ManualClock) -> None:
    """Its state leaked, or somebody is being logged in as somebody else."""
    logins = Logins(clock.monotonic)
    login = party.begin()
    for binding in ("", "another", "\ud800"):
        logins.keep(login)
        assert logins.take(login.state, binding) is None
        assert logins.take(login.state, login.binding) is None


async def test_logins_end_by_time_and_by_number(party: RelyingParty, clock: ManualClock) -> None:
    logins = Logins(clock.monotonic, room=3)
    begun = [party.begin() for _ in range(4)]
    for login in begun:
        logins.keep(login)
    assert len(logins) == 3
    assert logins.take(begun[0].state, begun[0].binding) is None
    clock.advance(PATIENCE)
    assert logins.take(begun[1].state, begun[1].binding) is begun[1]
    clock.advance(1)
    assert logins.take(begun[2].state, begun[2].binding) is None
