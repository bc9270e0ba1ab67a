"""Wycheproof's JOSE vectors, every one of them, as labelled or with the reason why not beside it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fastpath.identity.token.algorithms import KINDS
from fastpath.identity.token.compact import split
from fastpath.identity.token.jwk import KeyProblem, KeySet, read_keys
from fastpath.identity.token.proof import check_algorithm, prove
from fastpath.identity.token.refusal import Reason, Refused
from fastpath.identity.token.trust import TrustedIssuer

CORPUS = Path(__file__).parents[2] / "corpora" / "jwt-wycheproof"

#: RFC 7520's figures under keys whose `alg` is not the token's (PS256 for PS384, "ES521" for ES512): valid by label,
#: but the same file calls that difference invalid (`WrongPrimitive`), and so do we.
MISLABELLED = {"rfc7520": {"Figure20", "Figure27"}, "rfc7520WithKeyOps": {"Figure20", "Figure27"}}

#: Whatever an issuer may be trusted for: the vectors are about signatures, not about one issuer's settings.
ANYTHING = TrustedIssuer(name="any", issuer="any", audience=("any",), algorithms=tuple(KINDS))


class Vector(NamedTuple):
    group: str
    name: str
    token: str
    keys: list[dict[str, Any]]
    valid: bool

    @property
    def shared(self) -> bool:
        """Whether its key is a shared secret."""
        return any(key["kty"] == "oct" for key in self.keys)

    @property
    def mislabelled(self) -> bool:
        return self.name in MISLABELLED.get(self.group, ())


def vectors(file: str, member: str = "jws") -> Iterator[Vector]:
    for group in json.loads((CORPUS / f"{file}.json").read_text())["testGroups"]:
        key = group.get("public", group["private"])
        for test in group["tests"]:
            if member in test:
                valid = test["result"] == "valid"
                token = test[member] if isinstance(test[member], str) else json.dumps(test[member])
                yield Vector(group["comment"], test["comment"], token, key.get("keys", [key]), valid)


def judge(token: str, keys: list[dict[str, Any]]) -> Reason | str | None:
    """None when the signature holds, else why not."""
    try:
        compact = split(token.encode())
        check_algorithm(compact.algorithm, ANYTHING)
        prove(compact, read_keys(json.dumps({"keys": keys}).encode(), KeySet()))
    except Refused as refused:
        return refused.reason
    except KeyProblem as problem:
        return str(problem)
    return None


def expected(vector: Vector) -> bool:
    return vector.valid and not vector.shared and not vector.mislabelled


SIGNATURES = list(vectors("json_web_signature_test"))
KEYS = list(vectors("json_web_key_test"))
MIXED = list(vectors("json_web_crypto_test"))
ENCRYPTED = [*vectors("json_web_encryption_test", "jwe"), *vectors("json_web_crypto_test", "jwe")]


def label(vector: Vector) -> str:
    return f"{vector.group}-{vector.name}"


@pytest.mark.parametrize("vector", [*SIGNATURES, *KEYS, *MIXED], ids=label)
def test_a_signature_is_judged_as_labelled(vector: Vector) -> None:
    found = judge(vector.token, vector.keys)
    assert (found is None) == expected(vector), found


def test_none_is_missing() -> None:
    assert (len(SIGNATURES), len(KEYS), len(MIXED), len(ENCRYPTED)) == (401, 26, 49, 139 + 34)
    assert sum(vector.shared for vector in SIGNATURES) == 40
    assert sum(vector.mislabelled for vector in SIGNATURES) == 4
    assert sum(expected(vector) for vector in SIGNATURES) == 32


@pytest.mark.parametrize("vector", [v for v in SIGNATURES if v.mislabelled], ids=label)
def test_a_figure_under_a_mislabelled_key_holds_without_the_label(vector: Vector) -> None:
    bare = [{name: value for name, value in key.items() if name != "alg"} for key in vector.keys]
    assert judge(vector.token, bare) is None


@pytest.mark.parametrize("vector", [v for v in SIGNATURES if v.shared and v.valid], ids=label)
def test_a_good_token_under_a_shared_secret_is_refused_as_such(vector: Vector) -> None:
    """Two of them have a foreign letter within their base64, which the label forgives and we do not."""
    why = Reason.MALFORMED if "?" in vector.token else Reason.ALGORITHM_SYMMETRIC
    assert judge(vector.token, vector.keys) is why


@pytest.mark.parametrize("vector", ENCRYPTED, ids=label)
def test_an_encrypted_token_is_refused(vector: Vector) -> None:
    with pytest.raises(Refused) as caught:
        split(vector.token.encode())
    assert caught.value.reason in (Reason.ENCRYPTED, Reason.MALFORMED)
