"""The record itself: it comes back as it was, from anything else nothing comes, and it leads to the same choice."""

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.explain.decision import Decision, DecisionError, Failure, decode, encode, id_of, name_of
from fastpath.explain.fingerprint import WHOLE, Fingerprints
from fastpath.explain.replay import replay
from fastpath.explain.view import ADMIN, TENANT, Eyes, is_of, show
from fastpath.outbox.facts import Payer
from scheduler.choice import Choice, Dropped, Scored, Step
from tests.explain.decided import make_decision

ID = bytes(range(16))
part = st.floats(0, 1)
names = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=6, unique=True)


@st.composite
def choices(draw: Any) -> Choice:
    """A choice by score as whoever scores makes it: the dropped first, the best of the rest, ties to the first."""
    found = draw(names)
    cut = draw(st.integers(0, len(found) - 1))
    gone = tuple(Dropped(name, draw(st.sampled_from(Step)), "x") for name in found[:cut])
    scored = tuple(Scored(name, draw(part), draw(part), draw(part), draw(part), draw(part)) for name in found[cut:])
    best = max(scored, key=lambda each: each.total)
    return Choice("m", best.endpoint, "score", "balanced", gone, scored)


@given(made=st.lists(choices(), max_size=3))
def test_a_stored_choice_by_score_is_made_again(made: list[Choice]) -> None:
    decision = decode(encode(make_decision(ID, choices=tuple(made))))
    assert decision == make_decision(ID, choices=tuple(made))
    assert [(again.endpoint, again.same) for again in replay(decision)] == [(each.endpoint, True) for each in made]


@given(data=st.binary(max_size=200))
def test_anything_else_is_no_decision(data: bytes) -> None:
    with pytest.raises(DecisionError):
        decode(data)


@given(at=st.integers(0, 300), bit=st.integers(0, 7))
def test_a_changed_record_is_one_or_none(at: int, bit: int) -> None:
    whole = bytearray(encode(make_decision(ID)))
    whole[at % len(whole)] ^= 1 << bit
    try:
        found = decode(bytes(whole))
    except DecisionError:
        return
    assert isinstance(found, Decision)
    assert show(found, ADMIN)["id"] == name_of(found.request)


def test_an_endpoint_that_was_dropped_is_no_choice() -> None:
    choice = Choice("m", "a", "picker", dropped=(Dropped("a", Step.SAFETY, "tier"),))
    (again,) = replay(make_decision(ID, choices=(choice,)))
    assert not again.same


def test_nobody_is_nobody_again() -> None:
    choice = Choice("m", None, "nobody", dropped=(Dropped("a", Step.SAFETY, "region"),))
    (again,) = replay(make_decision(ID, choices=(choice,)))
    assert (again.endpoint, again.same, again.decided) == (None, True, True)


def test_ids_are_read_as_they_are_written() -> None:
    assert id_of(name_of(ID)) == ID
    assert id_of(ID.hex()) == ID
    for wrong in ("", "req_", "req_" + "0" * 31, "req_" + "0" * 33, "req_" + "G" * 32, "req_" + "A" * 32, " " * 32):
        assert id_of(wrong) is None


@pytest.mark.parametrize(
    ("owner", "caller", "seen"),
    [
        (Payer("a", key="k"), Payer("a", key="other"), True),
        (Payer("a", key="k"), Payer("b", key="k"), False),
        (Payer("a", key="k"), Payer("", key="k"), False),
        (Payer("", key="k"), Payer("", key="k"), True),
        (Payer("", key="k"), Payer("", key="l"), False),
        (Payer("", key="k"), Payer("a", key="k"), False),
        (Payer(), Payer(), True),
        (Payer("", key="k"), Payer(), False),
    ],
)
def test_whose_a_decision_is(owner: Payer, caller: Payer, seen: bool) -> None:
    assert is_of(make_decision(ID, payer=owner), caller) is seen


def test_names_are_numbered_the_same_everywhere() -> None:
    decision = make_decision(ID, failures=(Failure("rack-2", "status", "head"),))
    for eyes, expected in ((TENANT, ["endpoint-1", "endpoint-2"]), (Eyes({"rack-1"}), ["endpoint-1", "rack-1"])):
        shown = show(decision, eyes)
        assert [shown["failures"][0]["endpoint"], shown["endpoint"]] == expected
        assert [each["endpoint"] for each in shown["choices"][0]["scored"]] == expected[::-1]
        assert "rack-2" not in str(shown)
        assert "cloud" not in str(shown)
    assert show(decision, ADMIN)["choices"][0]["dropped"][0]["endpoint"] == "cloud"


def test_a_fingerprint_is_of_the_prompt_and_the_tenant() -> None:
    made = Fingerprints(bytes(32))
    assert made.take("a", b"x") == made.take("a", b"x")
    assert made.take("a", b"x") != made.take("b", b"x")
    assert made.take("a", b"x") != Fingerprints(bytes([1]) * 32).take("a", b"x")
    long = os.urandom(WHOLE + 2)
    assert made.take("a", long) != made.take("a", long + b"x")
    assert made.take("a", long) != made.take("a", long[:-1] + b"\0\0")
