"""One issuer, its keys, and a verifier that believes it, all in virtual time."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from fastpath.identity.token.identity import Claims
from fastpath.identity.token.jwk import KeySet, read_keys
from fastpath.identity.token.refusal import Refusal
from fastpath.identity.token.trust import TrustedIssuer
from fastpath.identity.token.verifier import TokenVerifier
from tests.idp.signer import SigningKey

NOW = 1_700_000_000.0
ISSUER = "https://idp.test/realms/one"
TRUSTED = TrustedIssuer(
    name="corp",
    issuer=ISSUER,
    audience=("https://gateway.test", "gateway"),
    algorithms=("RS256", "PS256", "ES256", "EdDSA"),
    tenant="acme",
)


class Shelf:
    """A Source whose keys a test puts there itself. wanted: how often a token asked for another key."""

    def __init__(self, trusted: TrustedIssuer, *jwks: Mapping[str, Any]) -> None:
        self.trusted = trusted
        self.keys = KeySet()
        self.wanted = 0
        if jwks:
            self.put(*jwks)

    def put(self, *jwks: Mapping[str, Any]) -> None:
        self.keys = read_keys(msgspec.json.encode({"keys": jwks}), self.keys)

    def want(self) -> None:
        self.wanted += 1


@pytest.fixture(scope="session")
def signing() -> Mapping[str, SigningKey]:
    """A key for each algorithm, named after it: RSA keys take a while to make."""
    rsa = SigningKey("RS256", "RS256")
    same = [SigningKey(name, name, rsa.private) for name in ("RS384", "RS512", "PS256", "PS384", "PS512")]
    made = [rsa, *same, *(SigningKey(name, name) for name in ("ES256", "ES384", "ES512", "EdDSA"))]
    return {key.kid: key for key in made}


@pytest.fixture
def shelf(signing: Mapping[str, SigningKey]) -> Shelf:
    return Shelf(TRUSTED, *(signing[name].jwk() for name in TRUSTED.algorithms))


@pytest.fixture
def verifier(shelf: Shelf) -> TokenVerifier:
    return TokenVerifier([shelf])


@pytest.fixture
def key(signing: Mapping[str, SigningKey]) -> SigningKey:
    return signing["ES256"]


def claims_of(**changed: object) -> dict[str, Any]:
    """Claims that pass, with changes; a claim of None is left out."""
    claims = {"iss": ISSUER, "aud": "gateway", "sub": "alice", "iat": NOW, "exp": NOW + 600, "jti": "t-1", **changed}
    return {name: value for name, value in claims.items() if value is not None}


@pytest.fixture
def reason(verifier: TokenVerifier) -> Callable[[bytes], str]:
    """The reason for which a token is refused now, "" when it is not."""

    def judge(token: bytes) -> str:
        found = verifier.verify(token, NOW)
        assert isinstance(found, Claims | Refusal)
        return found.reason if isinstance(found, Refusal) else ""

    return judge
