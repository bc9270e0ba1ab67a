"""The algorithms that can be allowed, and the keys that each works with. Pure data, cheap to import."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """The keys that an algorithm works with: `kty` and `crv` of a JWK."""

    kty: str
    crv: str = ""


#: RFC 7518 and RFC 8037. No shared secrets, so none can be confused with a public key.
KINDS: Final[Mapping[str, Kind]] = {
    "RS256": Kind("RSA"),
    "RS384": Kind("RSA"),
    "RS512": Kind("RSA"),
    "PS256": Kind("RSA"),
    "PS384": Kind("RSA"),
    "PS512": Kind("RSA"),
    "ES256": Kind("EC", "P-256"),
    "ES384": Kind("EC", "P-384"),
    "ES512": Kind("EC", "P-521"),
    "EdDSA": Kind("OKP", "Ed25519"),
}
