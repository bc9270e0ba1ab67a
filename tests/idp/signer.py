"""Makes tokens, good and bad ones, with cryptography alone: the product's verifier leans on another library."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
CURVES: Mapping[str, tuple[str, ec.EllipticCurve]] = {
    "ES256": ("P-256", ec.SECP256R1()),
    "ES384": ("P-384", ec.SECP384R1()),
    "ES512": ("P-521", ec.SECP521R1()),
}
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SigningKey:
    """A private key, its `kid` and the algorithm it signs with."""

    def __init__(self, kid: str, algorithm: str = "ES256", private: Private | None = None) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.private = private or new_private(algorithm)

    def jwk(self, **members: object) -> dict[str, Any]:
        """The public half as it stands in a key set; a member of None is left out."""
        made = {"kid": self.kid, "use": "sig", "alg": self.algorithm, **self._material(), **members}
        return {name: value for name, value in made.items() if value is not None}

    def sign(self, data: bytes, algorithm: str = "") -> bytes:
        """A signature as RFC 7518 has it."""
        algorithm = algorithm or self.algorithm
        private = self.private
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(data)
        digest = HASHES[algorithm[2:]]
        if isinstance(private, rsa.RSAPrivateKey):
            return private.sign(data, _padding(algorithm, digest), digest)
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(digest)))
        size = (private.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def token(self, claims: Mapping[str, Any], **header: object) -> bytes:
        """A token of these claims. header: further members; one of None is left out."""
        members = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid, **header}
        kept = {name: value for name, value in members.items() if value is not None}
        return self.raw_token(json.dumps(kept).encode(), json.dumps(claims).encode())

    def raw_token(self, header: bytes, payload: bytes) -> bytes:
        """A signed token of any two texts."""
        signed = f"{b64(header)}.{b64(payload)}".encode()
        return signed + b"." + b64(self.sign(signed)).encode()

    def _material(self) -> dict[str, Any]:
        public = self.private.public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):
            return {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        point, size = public.public_numbers(), (public.key_size + 7) // 8
        curve = next(name for name, made in CURVES.values() if made.name == public.curve.name)
        x, y = (b64(value.to_bytes(size, "big")) for value in (point.x, point.y))
        return {"kty": "EC", "crv": curve, "x": x, "y": y}


def new_private(algorithm: str, bits: int = 2048) -> Private:
    """A fresh private key that fits an algorithm."""
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm][1])
    return rsa.generate_private_key(65537, bits)


def _number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _padding(algorithm: str, digest: hashes.HashAlgorithm) -> padding.AsymmetricPadding:
    if algorithm.startswith("PS"):
        return padding.PSS(padding.MGF1(digest), digest.digest_size)
    return padding.PKCS1v15()
