"""What is asked of whom: no URL leads into our own networks, no answer is endless (threat T19)."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from fastpath.identity.token.address import ForbiddenTarget, Reach, check_addresses, reach_of, read_url
from fastpath.identity.token.fetch import Answer, Ask, Caps, FetchProblem, GuardedFetch, resolve_by_system
from tests.idp.server import IdentityProvider

LOOPBACK = frozenset({"127.0.0.1"})


class Names:
    """A resolver of made-up names. asked: each question; an answer may differ from one time to the next (rebinding)."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@pytest.fixture
async def idp() -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider(lambda: 0.0) as provider:
        yield provider


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every connection that is tried; none is made."""
    tried: list[object] = []

    async def refuse(*where: object, **_: object) -> None:
        tried.append(where)
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio, "open_connection", refuse)
    return tried


#: Ways to write "this machine", "this network" or "not a URL", as an attacker's discovery document might.
SPELLINGS = (
    "http://127.0.0.1/", "https://127.0.0.1/", "https://localhost/", "https://LOCALHOST/", "https://localhost./",
    "https://127.1/", "https://127.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/",
    "https://0177.0.0.1/", "https://017700000001/", "https://127.0.0.1.nip/", "https://0/", "https://0.0.0.0/",
    "https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:a00:1]/", "https://[::127.0.0.1]/", "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::a9fe:a9fe]/", "https://[2002:7f00:1::]/", "https://[2001:0:7f00:1::]/", "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/", "https://[fc00::1]/", "https://[fd12:3456::1]/", "https://[fec0::1]/",
    "https://[ff02::1]/", "https://10.0.0.1/", "https://10.255.255.255/", "https://172.16.0.1/",
    "https://172.31.255.255/", "https://192.168.1.1/", "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/", "https://169.254.170.2/", "https://192.0.0.192/",
    "https://198.18.0.1/", "https://192.0.2.1/", "https://203.0.113.9/", "https://[2001:db8::1]/",
    "https://[3fff::1]/", "https://[100::1]/", "https://[5f00::1]/", "https://[64:ff9b:1::a00:1]/",
    "https://0.1.2.3/", "https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/",
    "https://metadata.google.internal/", "https://idp.test@127.0.0.1/", "https://idp.test:x@10.0.0.1/",
    "https://127.0.0.1#@idp.test/", "https://127.0.0.1\\@idp.test/", "https://idp.test\\.evil/",
    "https://127.0.0.1:80 /", "https://127.0.0.1\t/", "https://idp.test/\r\nHost: evil", "https:/127.0.0.1/",
    "https:127.0.0.1", "//127.0.0.1/", "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:6379/_INFO",
    "HTTPS://127.0.0.1/", "https://①②⑦.0.0.1/", "https://127。0。0。1/", "https://[127.0.0.1]/", "https:///jwks",
    "https://", "https://idp.test:99999/", "https://idp.test:port/", "", "http://idp.test/",
)  # fmt: skip


@pytest.mark.parametrize("url", SPELLINGS)
async def test_no_spelling_leads_inside(url: str, opened: list[object]) -> None:
    """Names resolve as an attacker's name server would answer; literals as the system reads them."""
    inside = {"metadata.google.internal": ["169.254.169.254"], "127.0.0.1.nip": ["127.0.0.1"], "idp.test": ["8.8.8.8"]}

    async def resolve(host: str) -> list[str]:
        return inside[host] if host in inside else await resolve_by_system(host)

    with pytest.raises(FetchProblem, match=r"was not asked|cannot be reached"):
        await GuardedFetch(resolve)(Ask(url))
    assert opened == []


def test_there_are_enough_spellings() -> None:
    assert len(set(SPELLINGS)) >= 60


async def test_a_public_name_is_connected_at_the_address_that_was_judged(opened: list[object]) -> None:
    """The name server changes its mind between the question and the connection: it is not asked again."""
    names = Names(["93.184.216.34"], ["127.0.0.1"])
    with pytest.raises(FetchProblem, match="cannot be reached"):
        await GuardedFetch(names)(Ask("https://idp.test/jwks"))
    assert names.asked == ["idp.test"]
    assert opened == [("93.184.216.34", 443)]


@pytest.mark.parametrize("answers", [["93.184.216.34", "127.0.0.1"], ["::1", "93.184.216.34"], [], ["not an address"]])
async def test_one_bad_address_spoils_a_name(answers: list[str], opened: list[object]) -> None:
    with pytest.raises(FetchProblem, match="was not asked"):
        await GuardedFetch(Names(answers))(Ask("https://idp.test/jwks"))
    assert opened == []


def test_an_allowed_host_may_be_private_but_never_link_local() -> None:
    target = read_url("https://idp.internal/jwks")
    allowed = frozenset({"idp.internal"})
    check_addresses(target, ["10.0.0.7", "fd00::7"], allowed)
    for address in ("169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1"):
        with pytest.raises(ForbiddenTarget, match="private network"):
            check_addresses(target, [address], allowed)


@pytest.mark.parametrize(("host", "addresses"), [("idp.internal", ["10.0.0.7"]), ("idp.test", ["93.184.216.34"])])
def test_plain_http_is_for_loopback_alone(host: str, addresses: list[str]) -> None:
    with pytest.raises(ForbiddenTarget, match="https"):
        check_addresses(read_url(f"http://{host}/jwks"), addresses, frozenset({host}))
    check_addresses(read_url("http://127.0.0.1:8080/jwks"), ["127.0.0.1"], LOOPBACK)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_public_addresses_are_public(address: str) -> None:
    assert reach_of(address) is Reach.PUBLIC


def test_a_url_is_read_into_its_parts() -> None:
    target = read_url("https://Login.Test:8443/keys?p=policy&v=2")
    assert (target.host, target.port, target.path, target.authority) == (
        "login.test",
        8443,
        "/keys?p=policy&v=2",
        "login.test:8443",
    )
    assert read_url("https://[2606:2800::1]/").authority == "[2606:2800::1]"


# -- answers


def fetch(seconds: float = 20.0) -> GuardedFetch:
    return GuardedFetch(resolve_by_system, LOOPBACK, caps=Caps(seconds=seconds, body=4096))


async def test_an_answer_comes_back_whole(idp: IdentityProvider) -> None:
    answer = await fetch()(Ask(f"{idp.issuer}/jwks"))
    assert (answer.status, b'"kid":"key-1"' in answer.body) == (200, True)


async def test_a_redirect_is_an_answer_and_is_not_followed(idp: IdentityProvider) -> None:
    idp.moods.paths, idp.moods.redirect = ("/jwks",), f"{idp.issuer}/inside"
    assert await fetch()(Ask(f"{idp.issuer}/jwks")) == Answer(302, b"")
    assert idp.asked == {"/jwks": 1}


async def test_a_silent_provider_costs_the_deadline_and_no_more(idp: IdentityProvider) -> None:
    idp.moods.silent = True
    with pytest.raises(FetchProblem, match=r"within 0\.2 s"):
        await fetch(seconds=0.2)(Ask(f"{idp.issuer}/jwks"))


@pytest.mark.parametrize("headers", [[], [("content-length", "200000")]])
async def test_a_huge_answer_is_cut_short(headers: list[tuple[str, str]], idp: IdentityProvider) -> None:
    if headers:
        idp.moods.body, idp.moods.headers = b" " * 200_000, headers
    else:
        idp.moods.huge = 200_000
    with pytest.raises(FetchProblem, match="more than 4096 bytes"):
        await fetch()(Ask(f"{idp.issuer}/jwks"))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "proper HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", "proper HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}", "proper HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 5000 + b"\r\n", "proper HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n", "compressed"),
    ],
)
async def test_a_broken_answer_is_a_problem_with_a_name(raw: bytes, why: str, idp: IdentityProvider) -> None:
    idp.moods.raw = raw
    with pytest.raises(FetchProblem, match=why):
        await fetch()(Ask(f"{idp.issuer}/jwks"))


async def test_a_problem_holds_nothing_that_was_sent_or_received(idp: IdentityProvider) -> None:
    idp.moods.raw = b"CANARY\r\n"
    ask = Ask(f"{idp.issuer}/token?CANARY=1", (("code", "CANARY"),), "Basic CANARY")
    with pytest.raises(FetchProblem) as caught:
        await fetch()(ask)
    assert "CANARY" not in f"{caught.value!r} {caught.value.__cause__}"
    assert "Basic" not in repr(ask)


async def test_a_certificate_must_prove_the_name() -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def here(_: str) -> list[str]:
        return ["127.0.0.1"]

    names = frozenset({"localhost", "other"})
    async with IdentityProvider(lambda: 0.0, tls=server) as idp:
        url = f"{idp.issuer}/jwks"
        assert (await GuardedFetch(here, names, trusting)(Ask(url))).status == 200
        for context, asked in ((trusting, url.replace("localhost", "other")), (None, url)):
            with pytest.raises(FetchProblem, match="did not prove who it is"):
                await GuardedFetch(here, names, context)(Ask(asked))
        assert idp.asked == {"/jwks": 1}
