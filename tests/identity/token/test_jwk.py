"""Which keys of a key set are used."""

import json
from typing import Any

import pytest

from fastpath.identity.token.jwk import MAX_KEYS, KeyProblem, KeySet, read_key, read_keys
from tests.idp.signer import SigningKey, b64, new_private

EC = SigningKey("ec", "ES256")


def read(*jwks: object, before: KeySet | None = None) -> KeySet:
    return read_keys(json.dumps({"keys": jwks}).encode(), before or KeySet())


@pytest.mark.parametrize("algorithm", ["RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_key_is_for_its_algorithm_alone(algorithm: str) -> None:
    assert read_key(SigningKey("k", algorithm).jwk()).algorithms == {algorithm}


def test_a_key_that_names_no_algorithm_is_for_all_of_its_kind() -> None:
    rsa = SigningKey("k", "RS256")
    assert read_key(rsa.jwk(alg=None)).algorithms == {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    assert read_key(EC.jwk(alg=None, use=None)).algorithms == {"ES256"}


SHORT = SigningKey("short", "RS256", new_private("RS256", 1024))
BAD: dict[str, tuple[object, str]] = {
    "not an object": ("key", "not an object"),
    "for encryption": (EC.jwk(use="enc"), "not for signatures"),
    "for signing only": (EC.jwk(use=None, key_ops=["sign"]), "not for signatures"),
    "operations as a text": (EC.jwk(key_ops="verify"), "not for signatures"),
    "another curve's algorithm": (EC.jwk(alg="ES384"), "does not fit"),
    "a shared secret's algorithm": (EC.jwk(alg="HS256"), "does not fit"),
    "algorithm as a list": (EC.jwk(alg=["ES256"]), "does not fit"),
    "no kind": (EC.jwk(kty=None), "not supported"),
    "kind as a list": (EC.jwk(kty=["EC"]), "not supported"),
    "a curve that is not supported": (EC.jwk(crv="secp256k1", alg=None), "not supported"),
    "a shared secret": ({"kty": "oct", "k": b64(bytes(32)), "alg": "HS256"}, "secret"),
    "a private key": (EC.jwk(d=b64(bytes(32))), "secret"),
    "off its curve": (EC.jwk(x=b64(bytes(32))), "not on its curve"),
    "a short coordinate": (EC.jwk(x=b64(bytes(31))), "malformed"),
    "no coordinate": (EC.jwk(y=None), "malformed"),
    "a coordinate as a number": (EC.jwk(x=7), "malformed"),
    "base64 with padding": (EC.jwk(x=EC.jwk()["x"] + "="), "malformed"),
    "a kid that is no text": (EC.jwk(kid=7), "kid"),
    "a short RSA key": (SHORT.jwk(), "2048"),
    "an RSA exponent of one": (SigningKey("k", "RS256").jwk(e="AQ"), "malformed"),
    "an even RSA exponent": (SigningKey("k", "RS256").jwk(e="BA"), "malformed"),
    "a huge RSA exponent": (SigningKey("k", "RS256").jwk(e=b64(b"\x01" * 8)), "ordinary exponent"),
    "a huge RSA modulus": (SigningKey("k", "RS256").jwk(n=b64(b"\xff" * 2048)), "bits"),
}


@pytest.mark.parametrize(("jwk", "why"), BAD.values(), ids=BAD)
def test_a_key_that_is_not_sound_is_left_out_and_the_rest_is_used(jwk: object, why: str) -> None:
    with pytest.raises(KeyProblem, match=why):
        read_key(jwk)
    good = SigningKey("good")
    keys = read(jwk, good.jwk())
    assert [key.kid for key in keys] == ["good"]
    assert len(keys.left_out) == 1


def test_two_keys_under_one_kid_are_both_left_out() -> None:
    keys = read(SigningKey("twin").jwk(), SigningKey("twin").jwk(), EC.jwk())
    assert [key.kid for key in keys] == ["ec"]
    assert keys.find("twin", "ES256") is None
    assert keys.left_out == ("2 keys have the same kid",)


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[1]}', b'{"keys":[' + b"[" * 9999, b"\xff"],
)
def test_a_set_without_a_usable_key_is_no_set(document: bytes) -> None:
    with pytest.raises(KeyProblem):
        read_keys(document, KeySet())


def test_a_set_has_an_end() -> None:
    many: list[dict[str, Any]] = [EC.jwk(kid=str(number)) for number in range(MAX_KEYS + 1)]
    assert len(read(*many[:-1])) == MAX_KEYS
    with pytest.raises(KeyProblem, match="more than 64"):
        read(*many)


def test_keys_that_stay_are_the_same_objects() -> None:
    first = read(EC.jwk(), SigningKey("gone").jwk())
    second = read(EC.jwk(), SigningKey("new").jwk(), before=first)
    assert second.find("ec", "ES256") is first.find("ec", "ES256")
    assert [second.holds(key) for key in first] == [True, False]
    narrowed = read(EC.jwk(alg=None, key_ops=["verify"]), before=second)
    assert narrowed.find("ec", "ES256") is second.find("ec", "ES256"), "the same key for the same algorithms"
