"""An identity provider beside the gateway, and tokens that make the gateway ask it for its keys: a way out of its own.

Owns the key set and the tokens. A token names a key that the provider does not have, and data in each of its parts, so
that whatever of a token gets into the question is seen. Pure but for the key, which is new each time.
"""

import base64
import json

from cryptography.hazmat.primitives.asymmetric import ec


def make_key_set() -> bytes:
    """The provider's answer: one key, whose other half nobody has."""
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    point = {name: _b64(value.to_bytes(32, "big")) for name, value in (("x", numbers.x), ("y", numbers.y))}
    key = {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "one", **point}
    return json.dumps({"keys": [key]}).encode()


def make_token(issuer: str, secret: str) -> str:
    """A token that cannot be judged without asking for keys again, full of the secret."""
    header = {"alg": "ES256", "typ": "JWT", "kid": secret}
    claims = {"iss": issuer, "aud": "gateway", "exp": 4_000_000_000, "sub": secret, "note": secret}
    parts = [json.dumps(part).encode() for part in (header, claims)]
    return ".".join(_b64(part) for part in (*parts, b"s" * 64))


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
