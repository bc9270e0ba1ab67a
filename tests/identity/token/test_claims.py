"""Tokens good and bad, one difference each: what is said of them in the log, and that the caller hears one sentence."""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fastpath.identity.token.compact import MAX_TOKEN
from fastpath.identity.token.identity import Claims
from fastpath.identity.token.refusal import REFUSED, Reason, Refusal
from fastpath.identity.token.verifier import TokenVerifier
from tests.identity.token.conftest import ISSUER, NOW, Shelf, claims_of
from tests.idp.signer import SigningKey, b64

Keys = Mapping[str, SigningKey]
Judge = Callable[[bytes], str]
HEADER = b'{"alg":"ES256","kid":"ES256","typ":"at+jwt"}'


def payload_of(**changed: object) -> bytes:
    return json.dumps(claims_of(**changed)).encode()


def unsigned(header: bytes) -> bytes:
    return f"{b64(header)}.{b64(payload_of())}".encode()


GOOD: dict[str, dict[str, Any]] = {
    "as it is": {},
    "audience in a list": {"aud": ["https://other.test", "gateway"]},
    "no iat": {"iat": None},
    "nbf now": {"nbf": NOW},
    "fractions of seconds": {"iat": NOW - 0.5, "exp": NOW + 0.5},
    "expired within the leeway": {"exp": NOW - 59},
    "not yet valid within the leeway": {"nbf": NOW + 60},
    "issued by a clock ahead within the leeway": {"iat": NOW + 60},
    "no jti": {"jti": None},
    "scopes as a text": {"scope": "chat embeddings"},
    "no scopes": {"scope": ""},
    "unknown claims": {"nested": {"a": [1, {"b": None}]}, "number": 1e30},
    "a name in any script": {"sub": "用户-1"},
    "until the last year": {"exp": 253402300799},
}

BAD: dict[str, tuple[dict[str, Any], Reason]] = {
    "wrong issuer": ({"iss": "https://evil.test"}, Reason.UNKNOWN_ISSUER),
    "issuer with a slash more": ({"iss": ISSUER + "/"}, Reason.UNKNOWN_ISSUER),
    "issuer in capitals": ({"iss": ISSUER.upper()}, Reason.UNKNOWN_ISSUER),
    "issuer in a list": ({"iss": [ISSUER]}, Reason.UNKNOWN_ISSUER),
    "no issuer": ({"iss": None}, Reason.MISSING_CLAIM),
    "wrong audience": ({"aud": "https://other.test"}, Reason.WRONG_AUDIENCE),
    "audience as a prefix": ({"aud": "gatewa"}, Reason.WRONG_AUDIENCE),
    "audience with more": ({"aud": "gateway.evil.test"}, Reason.WRONG_AUDIENCE),
    "audience as a part of a text": ({"aud": "gateway other"}, Reason.WRONG_AUDIENCE),
    "no audience in the list": ({"aud": []}, Reason.WRONG_AUDIENCE),
    "no audience": ({"aud": None}, Reason.MISSING_CLAIM),
    "audience as an object": ({"aud": {"gateway": True}}, Reason.MALFORMED_CLAIM),
    "audience of numbers": ({"aud": ["gateway", 7]}, Reason.MALFORMED_CLAIM),
    "expired": ({"exp": NOW - 60}, Reason.EXPIRED),
    "expired long ago": ({"exp": 0}, Reason.EXPIRED),
    "missing exp": ({"exp": None}, Reason.MISSING_CLAIM),
    "exp as a text": ({"exp": str(NOW + 600)}, Reason.MALFORMED_CLAIM),
    "exp as true": ({"exp": True}, Reason.MALFORMED_CLAIM),
    "exp in milliseconds": ({"exp": (NOW + 600) * 1000}, Reason.MALFORMED_CLAIM),
    "exp below zero": ({"exp": -1}, Reason.MALFORMED_CLAIM),
    "not yet valid": ({"nbf": NOW + 60.1}, Reason.NOT_YET_VALID),
    "nbf as a text": ({"nbf": "0"}, Reason.MALFORMED_CLAIM),
    "future iat": ({"iat": NOW + 60.1}, Reason.ISSUED_IN_FUTURE),
    "iat in milliseconds": ({"iat": NOW * 1000}, Reason.MALFORMED_CLAIM),
    "bound to its sender": ({"cnf": {"jkt": "x"}}, Reason.SENDER_CONSTRAINED),
    "no subject": ({"sub": None}, Reason.MISSING_CLAIM),
    "empty subject": ({"sub": ""}, Reason.MISSING_CLAIM),
    "subject as a number": ({"sub": 7}, Reason.MALFORMED_CLAIM),
    "subject with a line end": ({"sub": "alice\nadmin"}, Reason.MALFORMED_CLAIM),
    "subject with a lone surrogate": ({"sub": "\ud800"}, Reason.MALFORMED_CLAIM),
    "subject with a zero": ({"sub": "alice\0"}, Reason.MALFORMED_CLAIM),
    "endless subject": ({"sub": "a" * 257}, Reason.MALFORMED_CLAIM),
    "jti as a list": ({"jti": []}, Reason.MALFORMED_CLAIM),
    "scopes as an object": ({"scope": {"chat": True}}, Reason.MALFORMED_CLAIM),
    "scopes of numbers": ({"scope": [1]}, Reason.MALFORMED_CLAIM),
    "too many scopes": ({"scope": ["x"] * 129}, Reason.MALFORMED_CLAIM),
}

#: Header members beside or instead of those of a good token.
HEADERS: dict[str, tuple[dict[str, Any], Reason]] = {
    "none": ({"alg": "none"}, Reason.ALGORITHM_NONE),
    "None": ({"alg": "nOnE"}, Reason.ALGORITHM_NONE),
    "hs256": ({"alg": "HS256"}, Reason.ALGORITHM_SYMMETRIC),
    "an algorithm that is not allowed": ({"alg": "ES384"}, Reason.ALGORITHM_REFUSED),
    "an algorithm in small letters": ({"alg": "es256"}, Reason.ALGORITHM_REFUSED),
    "no algorithm": ({"alg": None}, Reason.MALFORMED),
    "a list of algorithms": ({"alg": ["ES256"]}, Reason.MALFORMED),
    "alg mismatch with key": ({"alg": "RS256"}, Reason.WRONG_KEY),
    "unknown kid": ({"kid": "ES257"}, Reason.UNKNOWN_KEY),
    "kid injection, path": ({"kid": "../../../../dev/null"}, Reason.UNKNOWN_KEY),
    "kid injection, sql": ({"kid": "' UNION SELECT 'key' --"}, Reason.UNKNOWN_KEY),
    "kid injection, url": ({"kid": "https://evil.test/jwks#1"}, Reason.UNKNOWN_KEY),
    "kid injection, command": ({"kid": "ES256; touch /tmp/pwned"}, Reason.UNKNOWN_KEY),
    "kid injection, zero": ({"kid": "ES256\0"}, Reason.UNKNOWN_KEY),
    "kid as a number": ({"kid": 0}, Reason.MALFORMED),
    "kid as an object": ({"kid": {"$ne": ""}}, Reason.MALFORMED),
    "endless kid": ({"kid": "k" * 257}, Reason.MALFORMED),
    "jku": ({"jku": "https://evil.test/jwks"}, Reason.KEY_IN_HEADER),
    "x5u": ({"x5u": "https://evil.test/cert"}, Reason.KEY_IN_HEADER),
    "x5c": ({"x5c": ["MIIB"]}, Reason.KEY_IN_HEADER),
    "crit": ({"crit": ["exp"], "exp": NOW}, Reason.CRITICAL),
    "empty crit": ({"crit": []}, Reason.CRITICAL),
    "b64=false": ({"b64": False}, Reason.UNENCODED_PAYLOAD),
    "enc": ({"enc": "A256GCM"}, Reason.ENCRYPTED),
    "nested": ({"cty": "JWT"}, Reason.NESTED),
    "a logout token": ({"typ": "logout+jwt"}, Reason.WRONG_TYPE),
    "typ as a number": ({"typ": 1}, Reason.WRONG_TYPE),
}


@pytest.mark.parametrize("changed", GOOD.values(), ids=GOOD)
def test_a_good_token_says_who_calls(changed: dict[str, Any], key: SigningKey, verifier: TokenVerifier) -> None:
    found = verifier.verify(key.token(claims_of(**changed)), NOW)
    assert isinstance(found, Claims), found
    assert (found.issuer, found.tenant) == ("corp", "acme")
    assert found.user == changed.get("sub", "alice")
    assert found.principal == f"corp:{found.user}"


@pytest.mark.parametrize("name", ["RS256", "PS256", "ES256", "EdDSA"])
def test_every_allowed_algorithm_is_believed(name: str, signing: Keys, reason: Judge) -> None:
    assert reason(signing[name].token(claims_of())) == ""
    assert reason(signing[name].token(claims_of())[:-6] + b"AAAAAA") == "bad_signature"


@pytest.mark.parametrize(("changed", "why"), BAD.values(), ids=BAD)
def test_a_bad_claim_is_refused(changed: dict[str, Any], why: Reason, key: SigningKey, reason: Judge) -> None:
    assert reason(key.token(claims_of(**changed))) == why


@pytest.mark.parametrize(("changed", "why"), HEADERS.values(), ids=HEADERS)
def test_a_bad_header_is_refused(changed: dict[str, Any], why: Reason, key: SigningKey, reason: Judge) -> None:
    assert reason(key.token(claims_of(), **changed)) == why


def test_hs_rs_confusion_is_refused(signing: Keys, reason: Judge) -> None:
    """The public key, in every form in which a careless verifier might hold it, as the secret of an HMAC."""
    key = signing["RS256"]
    public = key.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), der, json.dumps(key.jwk()).encode(), b""):
        signed = unsigned(b'{"alg":"HS256","kid":"RS256"}')
        mac = hmac.new(secret, signed, hashlib.sha256).digest()
        assert reason(signed + b"." + b64(mac).encode()) == "algorithm_symmetric"


def test_a_jwk_in_the_header_is_refused(reason: Judge) -> None:
    forged = SigningKey("ES256", "ES256")
    assert reason(forged.token(claims_of(), jwk=forged.jwk())) == "key_in_header"


def test_another_key_under_the_same_kid_proves_nothing(reason: Judge) -> None:
    assert reason(SigningKey("ES256", "ES256").token(claims_of())) == "bad_signature"


def test_none_without_a_signature_is_refused(reason: Judge) -> None:
    assert reason(unsigned(b'{"alg":"none"}') + b".") == "algorithm_none"


def test_without_a_kid_the_only_key_that_fits_is_taken(key: SigningKey, shelf: Shelf) -> None:
    token = key.token(claims_of(), kid=None)
    assert isinstance(TokenVerifier([shelf]).verify(token, NOW), Claims)
    shelf.put(key.jwk(), SigningKey("another").jwk())
    assert TokenVerifier([shelf]).verify(token, NOW) == Refusal(Reason.UNKNOWN_KEY, "corp")


SHAPES: dict[str, tuple[bytes, bytes, Reason]] = {
    "duplicate alg": (b'{"alg":"none","alg":"ES256","kid":"ES256"}', b"", Reason.DUPLICATE_MEMBER),
    "duplicate kid by escape": (b'{"alg":"ES256","kid":"a","\\u006bid":"ES256"}', b"", Reason.DUPLICATE_MEMBER),
    "duplicate claim": (HEADER, b'{"exp":1,"exp":2000000000}', Reason.DUPLICATE_MEMBER),
    "duplicate inside a claim": (HEADER, b'{"exp":1,"x":{"a":1,"a":1}}', Reason.DUPLICATE_MEMBER),
    "header as a list": (b"[]", b"", Reason.MALFORMED),
    "header with a byte order mark": (b"\xef\xbb\xbf" + HEADER, b"", Reason.MALFORMED),
    "header in latin-1": (b'{"alg":"ES256","kid":"\xe9"}', b"", Reason.MALFORMED),
    "header with more behind": (HEADER + b"{}", b"", Reason.MALFORMED),
    "claims as a list": (HEADER, b"[]", Reason.MALFORMED),
    "claims as a text": (HEADER, b'"alice"', Reason.MALFORMED),
    "claims with NaN": (HEADER, b'{"exp":NaN}', Reason.MALFORMED),
    "claims with infinity": (HEADER, payload_of(exp="@").replace(b'"@"', b"1e999"), Reason.MALFORMED_CLAIM),
    "a number of 5,000 digits": (HEADER, b'{"exp":' + b"1" * 5000 + b"}", Reason.MALFORMED),
    "claims too deep": (HEADER, b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", Reason.MALFORMED),
    "a token in a token": (HEADER, b'"' + b"eyJhbGciOiJub25lIn0.e30." + b'"', Reason.MALFORMED),
    "no claims": (HEADER, b"{}", Reason.MISSING_CLAIM),
}


@pytest.mark.parametrize(("header", "payload", "why"), SHAPES.values(), ids=SHAPES)
def test_a_shape_that_can_be_read_in_two_ways_is_refused(
    header: bytes, payload: bytes, why: Reason, key: SigningKey, reason: Judge
) -> None:
    assert reason(key.raw_token(header, payload or payload_of())) == why


def _respell(token: bytes, part: int, change: Callable[[bytes], bytes]) -> bytes:
    parts = token.split(b".")
    parts[part] = change(parts[part])
    return b".".join(parts)


def _stray_bits(text: bytes) -> bytes:
    """The same bytes in another spelling: the last letter carries bits that decode to nothing."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + bytes([alphabet[alphabet.index(text[-1]) ^ 1]])


NON_CANONICAL: dict[str, Callable[[bytes], bytes]] = {
    "padding": lambda text: text + b"=" * (-len(text) % 4 or 4),
    "a space": lambda text: text + b" ",
    "a line end": lambda text: text[:4] + b"\n" + text[4:],
    "plus and slash": lambda text: text[:-2] + b"+/",
    "a foreign letter": lambda text: text + b"\xc3\xa9",
    "one letter too many": lambda text: text + b"A" * ((1 - len(text)) % 4),
}


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("change", NON_CANONICAL.values(), ids=NON_CANONICAL)
def test_base64_that_is_not_canonical_is_refused(
    part: int, change: Callable[[bytes], bytes], key: SigningKey, reason: Judge
) -> None:
    assert reason(_respell(key.token(claims_of()), part, change)) == "malformed"


def test_stray_bits_in_base64_are_refused(key: SigningKey, reason: Judge) -> None:
    token = key.token(claims_of())  # 64 bytes of signature: the last letter has four bits to spare
    assert reason(token) == ""
    assert reason(_respell(token, 2, _stray_bits)) == "malformed"


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (b"", Reason.MALFORMED),
        (b".", Reason.MALFORMED),
        (b"..", Reason.MALFORMED),
        (b"a.b.c.d", Reason.MALFORMED),
        (b"e30.e30.e30.e30.e30", Reason.ENCRYPTED),
        (b'{"payload":"e30","signatures":[]}', Reason.MALFORMED),
        (b"x" * (MAX_TOKEN + 1), Reason.TOO_LONG),
    ],
)
def test_what_is_no_token_is_refused(token: bytes, why: Reason, reason: Judge) -> None:
    assert reason(token) == why


def test_the_longest_token_is_read_and_one_byte_more_is_not(key: SigningKey, reason: Judge) -> None:
    grown = {n: len(key.token(claims_of(pad="x" * n))) for n in range(5600, 6100)}
    fitting = max(n for n, length in grown.items() if length <= MAX_TOKEN)
    assert reason(key.token(claims_of(pad="x" * fitting))) == ""
    assert reason(key.token(claims_of(pad="x" * (fitting + 3)))) == "too_long"


def test_the_caller_hears_one_sentence_whatever_the_reason() -> None:
    assert {Refusal(why, issuer).message for why in Reason for issuer in ("", "corp")} == {REFUSED}
    assert len({str(why) for why in Reason}) == len(Reason)
    assert not any(word in REFUSED.lower() for word in ("expired", "signature", "issuer", "audience"))


def test_a_refusal_holds_nothing_of_the_token(key: SigningKey, verifier: TokenVerifier) -> None:
    found = verifier.verify(key.token(claims_of(sub="CANARY", exp=1), kid="CANARY"), NOW)
    assert isinstance(found, Refusal)
    assert "CANARY" not in repr(found)
    assert found.issuer == "corp"
