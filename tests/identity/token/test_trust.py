"""What an issuer is believed in: its settings, and the claims that say who calls."""

from typing import Any

import msgspec
import pytest

from fastpath.identity.token.identity import Claims
from fastpath.identity.token.refusal import Reason, Refusal
from fastpath.identity.token.trust import ClaimNames, TrustedIssuer, problems
from fastpath.identity.token.verifier import TokenVerifier
from tests.identity.token.conftest import NOW, TRUSTED, Shelf, claims_of
from tests.idp.signer import SigningKey

KEY = SigningKey("k", "EdDSA")


def judge(changed: dict[str, Any], **claims: object) -> Claims | Refusal:
    """What a verifier that believes TRUSTED with changes makes of a token with these claims."""
    shelf = Shelf(msgspec.structs.replace(TRUSTED, **changed), KEY.jwk())
    return TokenVerifier([shelf]).verify(KEY.token(claims_of(**claims)), NOW)


TENANTS = {"claims": ClaimNames(tenant="tid"), "tenants": ("acme", "umbrella"), "tenant": ""}


@pytest.mark.parametrize(
    ("changed", "claims", "tenant"),
    [
        ({}, {"tid": "umbrella"}, "acme"),  # nobody asked the claim
        (TENANTS, {"tid": "umbrella"}, "umbrella"),
        (TENANTS | {"tenant": "acme"}, {}, "acme"),
        (TENANTS | {"tenants": ("*",)}, {"tid": "whoever"}, "whoever"),
    ],
)
def test_a_tenant_comes_from_the_settings_or_an_allowed_claim(
    changed: dict[str, Any], claims: dict[str, Any], tenant: str
) -> None:
    found = judge(changed, **claims)
    assert isinstance(found, Claims)
    assert found.tenant == tenant


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"tid": "globex"}, Reason.FOREIGN_TENANT),
        ({"tid": "*"}, Reason.FOREIGN_TENANT),
        ({"tid": "ACME"}, Reason.FOREIGN_TENANT),
        ({"tid": ["acme"]}, Reason.MALFORMED_CLAIM),
        ({}, Reason.MISSING_CLAIM),
        ({"tid": ""}, Reason.MISSING_CLAIM),
    ],
)
def test_an_issuer_speaks_for_its_own_tenants_alone(claims: dict[str, Any], why: Reason) -> None:
    assert judge(TENANTS, **claims) == Refusal(why, "corp")


@pytest.mark.parametrize(
    ("name", "value", "scopes"),
    [
        ("scope", "chat  embeddings chat", ("chat", "embeddings")),
        ("scp", ["chat", "embeddings"], ("chat", "embeddings")),
        ("/realm_access/roles", ["admin"], ("admin",)),
        ("/a~1b/c~0d", ["x"], ("x",)),
        ("https://gateway.test/roles", ["x"], ("x",)),
        ("", ["ignored"], ()),
        ("/scope/deeper/still", "text", ()),
    ],
)
def test_scopes_are_found_where_the_settings_say(name: str, value: object, scopes: tuple[str, ...]) -> None:
    places = {"/realm_access/roles": {"realm_access": {"roles": value}}, "/a~1b/c~0d": {"a/b": {"c~d": value}}}
    claims = places.get(name, {name.lstrip("/").partition("/")[0] if name.startswith("/") else name or "scope": value})
    found = judge({"claims": ClaimNames(scopes=name)}, **claims)
    assert isinstance(found, Claims)
    assert found.scopes == scopes


def test_a_user_and_a_team_may_stand_elsewhere() -> None:
    found = judge({"claims": ClaimNames(user="email", team="/org/team")}, email="a@b.test", org={"team": "blue"})
    assert isinstance(found, Claims)
    assert (found.user, found.team) == ("a@b.test", "blue")
    assert judge({"claims": ClaimNames(user="email")}) == Refusal(Reason.MISSING_CLAIM, "corp")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": ""}, "a name of yours"),
        ({"issuer": ""}, "a name of yours"),
        ({"audience": ()}, "audience"),
        ({"audience": ("",)}, "audience"),
        ({"algorithms": ()}, "algorithms"),
        ({"algorithms": ("RS256", "HS256")}, "never accepted"),
        ({"algorithms": ("none",)}, "never accepted"),
        ({"leeway": 61.0}, "leeway"),
        ({"leeway": -1.0}, "leeway"),
        ({"leeway": float("nan")}, "leeway"),
        ({"tenants": ("acme",)}, "belong together"),
        ({"claims": ClaimNames(tenant="tid")}, "belong together"),
        ({"issuer": "http://idp.test"}, "https"),
        ({"jwks_uri": "http://idp.test/jwks"}, "jwks_uri"),
        ({"jwks_uri": "file:///keys"}, "jwks_uri"),
    ],
)
def test_settings_that_are_not_safe_are_refused(changed: dict[str, Any], words: str) -> None:
    wrong = msgspec.structs.replace(TRUSTED, **changed)
    assert any(words in problem for problem in problems(wrong))
    with pytest.raises(ValueError, match=words):
        TokenVerifier([Shelf(wrong)])


def test_good_settings_have_no_problems() -> None:
    assert problems(TRUSTED) == []
    local = TrustedIssuer(name="l", issuer="http://127.0.0.1:9", audience=("a",), allow_hosts=("127.0.0.1",))
    assert problems(local) == []


def test_an_issuer_is_configured_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        TokenVerifier([Shelf(TRUSTED), Shelf(msgspec.structs.replace(TRUSTED, name="again"))])
