"""What the verifier remembers of tokens: the whole token or nothing, and never longer than it may."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.identity.token.compact import Compact
from fastpath.identity.token.identity import Claims
from fastpath.identity.token.jwk import KeySet, PublicKey
from fastpath.identity.token.proof import prove
from fastpath.identity.token.refusal import Reason, Refusal
from fastpath.identity.token.verifier import REMEMBERED, Revocations, TokenVerifier
from tests.identity.token.conftest import NOW, TRUSTED, Shelf, claims_of
from tests.idp.signer import SigningKey

KEY = SigningKey("only", "EdDSA")
JWK = KEY.jwk()


class Counting(Shelf):
    """Counts how often keys are asked for a signature's check."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(TRUSTED, JWK)
        self.checks = 0
        monkeypatch.setattr("fastpath.identity.token.verifier.prove", self._prove)

    def _prove(self, compact: Compact, keys: KeySet) -> PublicKey:
        self.checks += 1
        return prove(compact, keys)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    return Counting(monkeypatch)


def refusal(why: Reason) -> Refusal:
    return Refusal(why, "corp")


def test_a_token_is_checked_once_a_minute(counting: Counting) -> None:
    verifier, token = TokenVerifier([counting]), KEY.token(claims_of())
    first = verifier.verify(token, NOW)
    assert all(verifier.verify(token, NOW + second) is first for second in range(60))
    assert counting.checks == 1
    assert verifier.verify(token, NOW + REMEMBERED) == first
    assert counting.checks == 2


def test_an_expired_token_is_refused_although_it_is_remembered(counting: Counting) -> None:
    verifier, token = TokenVerifier([counting]), KEY.token(claims_of(exp=NOW - 59))
    assert isinstance(verifier.verify(token, NOW), Claims)
    assert verifier.verify(token, NOW + 1) == refusal(Reason.EXPIRED)
    assert counting.checks == 1, "the memory itself must refuse it"


def test_a_token_from_before_its_time_is_refused_although_it_is_remembered(counting: Counting) -> None:
    verifier, token = TokenVerifier([counting]), KEY.token(claims_of(nbf=NOW))
    assert isinstance(verifier.verify(token, NOW + 30), Claims)
    assert verifier.verify(token, NOW - 61) == refusal(Reason.NOT_YET_VALID)


def test_a_clock_set_back_does_not_lengthen_the_memory(counting: Counting) -> None:
    verifier, token = TokenVerifier([counting]), KEY.token(claims_of(iat=None))
    verifier.verify(token, NOW)
    verifier.verify(token, NOW - 3600)
    assert counting.checks == 2


def test_a_key_that_its_issuer_removed_proves_nothing_from_then_on(counting: Counting) -> None:
    verifier, token = TokenVerifier([counting]), KEY.token(claims_of())
    assert isinstance(verifier.verify(token, NOW), Claims)
    counting.put(SigningKey("other").jwk())
    assert verifier.verify(token, NOW + 1) == refusal(Reason.UNKNOWN_KEY)


def test_keys_that_stay_keep_what_is_remembered(counting: Counting) -> None:
    verifier, token = TokenVerifier([counting]), KEY.token(claims_of())
    verifier.verify(token, NOW)
    counting.put(SigningKey("new").jwk(), JWK)
    assert isinstance(verifier.verify(token, NOW + 1), Claims)
    assert counting.checks == 1


def test_a_key_replaced_under_its_kid_is_another_key(counting: Counting) -> None:
    verifier, token = TokenVerifier([counting]), KEY.token(claims_of())
    verifier.verify(token, NOW)
    counting.put(SigningKey("only", "EdDSA").jwk())
    assert verifier.verify(token, NOW + 1) == refusal(Reason.BAD_SIGNATURE)


@pytest.mark.parametrize(
    ("revoked", "refused"),
    [
        (Revocations(tokens=frozenset({("corp", "t-1")})), True),
        (Revocations(users={("corp", "alice"): NOW}), True),
        (Revocations(tokens=frozenset({("other", "t-1"), ("corp", "t-2")})), False),
        (Revocations(users={("corp", "alice"): NOW - 1, ("other", "alice"): NOW, ("corp", "bob"): NOW}), False),
    ],
)
def test_a_revocation_takes_effect_at_once(revoked: Revocations, refused: bool, counting: Counting) -> None:
    verifier, token = TokenVerifier([counting]), KEY.token(claims_of())
    assert isinstance(verifier.verify(token, NOW), Claims)
    verifier.revoke(revoked)
    assert (verifier.verify(token, NOW) == refusal(Reason.REVOKED)) == refused
    fresh = TokenVerifier([counting])
    fresh.revoke(revoked)
    assert (fresh.verify(token, NOW) == refusal(Reason.REVOKED)) == refused


def test_a_revoked_user_cannot_come_with_a_token_of_no_date(counting: Counting) -> None:
    verifier = TokenVerifier([counting])
    verifier.revoke(Revocations(users={("corp", "alice"): NOW - 3600}))
    assert isinstance(verifier.verify(KEY.token(claims_of()), NOW), Claims)
    assert verifier.verify(KEY.token(claims_of(iat=None)), NOW) == refusal(Reason.REVOKED)


def test_no_more_is_remembered_than_there_is_room_for(counting: Counting) -> None:
    verifier = TokenVerifier([counting], room=3)
    tokens = [KEY.token(claims_of(jti=f"t-{number}")) for number in range(5)]
    for token in tokens:
        verifier.verify(token, NOW)
    assert len(verifier) == 3
    verifier.verify(tokens[4], NOW)
    assert counting.checks == 5
    verifier.verify(tokens[0], NOW)
    assert counting.checks == 6


def test_what_is_refused_is_not_remembered(counting: Counting) -> None:
    verifier = TokenVerifier([counting])
    for number in range(50):
        assert isinstance(verifier.verify(KEY.token(claims_of(exp=number)), NOW), Refusal)
    assert len(verifier) == 0


# -- the key of the memory

CLAIMS: st.SearchStrategy[Mapping[str, Any]] = st.fixed_dictionaries(
    {"sub": st.text("ab", min_size=1, max_size=2), "jti": st.text("cd", max_size=2)},
    optional={"scope": st.sampled_from(["chat", "chat embeddings"]), "pad": st.text("e", max_size=300)},
)


@settings(max_examples=60)
@given(st.lists(CLAIMS, min_size=2, max_size=8, unique_by=lambda claims: repr(sorted(claims.items()))))
def test_remembered_tokens_answer_as_if_each_were_the_first(made: list[Mapping[str, Any]]) -> None:
    shelf = Shelf(TRUSTED, JWK)
    warm = TokenVerifier([shelf])
    tokens = [KEY.token(claims_of(**claims)) for claims in made]
    for token in tokens * 2:
        assert warm.verify(token, NOW) == TokenVerifier([shelf]).verify(token, NOW)
    assert len(warm) == len(set(tokens))


@settings(max_examples=150)
@given(st.data())
def test_nothing_but_the_whole_token_finds_what_is_remembered(data: st.DataObject) -> None:
    """Cut off, added to, one byte changed anywhere, one token's beginning with another's end: never a hit."""
    verifier = TokenVerifier([Shelf(TRUSTED, JWK)])
    one, other = (KEY.token(claims_of(sub=name, pad="x" * 200)) for name in ("alice", "bob"))
    assert isinstance(verifier.verify(one, NOW), Claims)
    place = data.draw(st.integers(0, len(one) - 1))
    changed = data.draw(
        st.sampled_from(
            [
                one[:place],
                one + bytes([one[place]]),
                one[:place] + bytes([one[place] ^ data.draw(st.integers(1, 255))]) + one[place + 1 :],
                one[:place] + other[place:],
                one.replace(b".", b"..", 1),
                one.swapcase(),
            ]
        )
    )
    found = verifier.verify(changed, NOW)
    assert changed in (one, other) or isinstance(found, Refusal)
