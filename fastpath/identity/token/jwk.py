"""An issuer's public keys: read from its key set (RFC 7517), each with the algorithms that it may check.

Owns what a key must be like to be used at all, and the lookup. The arithmetic is PyJWT's and cryptography's. A key
that is not for us is left out and named in `left_out`; the rest of its set stays usable. Nothing here changes once
made, so any thread may use it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from _native.jsonscan import scan
from fastpath.identity.token.algorithms import KINDS
from fastpath.identity.token.compact import decode
from fastpath.identity.token.refusal import Refused
from fastpath.identity.token.roca import is_roca

_READERS: Final[Mapping[str, Callable[[dict[str, Any]], Any]]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}
#: The members that are the key itself, of each `kty`.
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}
_SECRET_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})

#: Shorter ones can be factored; longer ones cost milliseconds a check.
_RSA_BITS = range(2048, 8193)
MAX_KEYS = 64


class KeyProblem(Exception):
    """A key, or a whole set, that is not used. The message holds nothing of it."""


class PublicKey:
    """A key and what it may check."""

    __slots__ = ("_checks", "algorithms", "kid", "print")

    def __init__(self, kid: str | None, algorithms: frozenset[str], material: Any, print: bytes) -> None:
        self.kid = kid
        self.algorithms = algorithms
        self.print = print
        self._checks = {name: (jwt.get_algorithm_by_name(name), material) for name in algorithms}

    def proves(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether `signature` over `signed` is of this key. algorithm: one of `algorithms`."""
        check, material = self._checks[algorithm]
        return bool(check.verify(signed, material, signature))


class KeySet:
    """The keys of one issuer at one time. `left_out` says why others of its set are not here."""

    __slots__ = ("_by_kid", "_keys", "left_out")

    def __init__(self, keys: tuple[PublicKey, ...] = (), left_out: tuple[str, ...] = ()) -> None:
        self._keys = keys
        self._by_kid = {key.kid: key for key in keys if key.kid is not None}
        self.left_out = left_out

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[PublicKey]:
        return iter(self._keys)

    def find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """The key that a token names. One that names none gets the only key that fits, if it is the only one."""
        if kid is not None:
            return self._by_kid.get(kid)
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        return fitting[0] if len(fitting) == 1 else None

    def holds(self, key: PublicKey) -> bool:
        """Whether this very key object is in the set: `read_keys` keeps those that did not change."""
        return self._by_kid.get(key.kid) is key if key.kid is not None else key in self._keys


def read_keys(document: bytes, before: KeySet) -> KeySet:
    """The usable keys of a JSON Web Key Set. Keys that `before` has too stay the same objects.

    Two keys under one `kid` are both left out: a token could not say which it means. Raises KeyProblem when nothing is
    left, so that a broken document never replaces keys that work.
    """
    read, left_out = [], []
    known = {(key.kid, key.algorithms, key.print): key for key in before}
    for number, jwk in enumerate(_listed(document), 1):
        try:
            key = read_key(jwk)
        except KeyProblem as problem:
            left_out.append(f"key {number}: {problem}")
        else:
            read.append(known.get((key.kid, key.algorithms, key.print), key))
    uses = Counter(key.kid for key in read)
    left_out += [f"{count} keys have the same kid" for kid, count in uses.items() if kid is not None and count > 1]
    usable = tuple(key for key in read if key.kid is None or uses[key.kid] == 1)
    if not usable:
        raise KeyProblem(f"the key set has no key to use ({'; '.join(left_out[:4]) or 'it is empty'})")
    return KeySet(usable, tuple(left_out))


def read_key(jwk: object) -> PublicKey:
    """One JWK. Raises KeyProblem when it is not a sound public key for signatures of a kind we know."""
    if not isinstance(jwk, dict):
        raise KeyProblem("is not an object")
    if not _SECRET_MEMBERS.isdisjoint(jwk):
        raise KeyProblem("is secret or holds secret parts, which no one should publish")
    kid = jwk.get("kid")
    if not (kid is None or isinstance(kid, str)):
        raise KeyProblem("has a kid that is not a text")
    algorithms = _algorithms(jwk)
    material = _material(jwk)
    return PublicKey(kid, algorithms, material, _thumbprint(jwk))


def _algorithms(jwk: dict[str, Any]) -> frozenset[str]:
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise KeyProblem("is not for signatures")
    kinds = (jwk.get("kty"), jwk.get("crv", ""))
    fitting = frozenset(name for name, kind in KINDS.items() if kind == kinds)
    if not fitting:
        raise KeyProblem("is of a kind that is not supported")
    if "alg" not in jwk:
        return fitting
    named = frozenset(name for name in fitting if name == jwk["alg"])
    if not named:
        raise KeyProblem("is for an algorithm that does not fit it or is not supported")
    return named


def _material(jwk: dict[str, Any]) -> Any:
    kty = jwk["kty"]
    try:
        for member in _MEMBERS[kty]:
            decode(jwk[member].encode())
        material = _READERS[kty](jwk)
    except (KeyError, AttributeError, ValueError, Refused, jwt.InvalidKeyError):
        raise KeyProblem("is malformed, or not on its curve") from None
    if isinstance(material, RSAPublicKey):
        _check_rsa(material)
    return material


def _check_rsa(key: RSAPublicKey) -> None:
    numbers = key.public_numbers()
    if key.key_size not in _RSA_BITS or numbers.e >= 1 << 32:
        raise KeyProblem(f"is not an RSA key of {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits with an ordinary exponent")
    if is_roca(numbers.n):
        raise KeyProblem("was made by hardware with a known weakness (CVE-2017-15361) and can be broken")


def _thumbprint(jwk: dict[str, Any]) -> bytes:
    members = {name: jwk[name] for name in ("kty", "crv", *_MEMBERS[jwk["kty"]]) if name in jwk}
    return hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()  # RFC 7638


def _listed(document: bytes) -> list[object]:
    found = msgspec.json.decode(document) if scan(document) == -1 else None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise KeyProblem("the key set is not an object with a list of keys")
    if len(keys) > MAX_KEYS:
        raise KeyProblem(f"the key set has more than {MAX_KEYS} keys")
    return keys
