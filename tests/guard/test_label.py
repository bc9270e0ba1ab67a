"""The lattice of labels: joining is monotone, commutative, associative, idempotent, and nothing lowers a label."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.guard.label import TIER_BITS, Label

CLASSES = ["P0", "P1", "P2"]
REGIONS = ["eu", "cn", "us"]


def subsets_of(names: list[str]) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | st.frozensets(st.sampled_from(names))


labels = st.builds(Label, st.sampled_from(CLASSES), subsets_of(list(TIER_BITS)), subsets_of(REGIONS))
PLACES = list(product(TIER_BITS, [*REGIONS, None]))


def reached(label: Label) -> set[tuple[str, str | None]]:
    """All places that a label admits."""
    return {place for place in PLACES if label.admits(*place)}


@given(labels, labels, labels)
def test_it_is_a_semilattice(one: Label, two: Label, three: Label) -> None:
    assert one.join(one) == one
    assert one.join(two) == two.join(one)
    assert one.join(two).join(three) == one.join(two.join(three))


@given(labels, labels)
def test_a_join_is_as_strict_as_both_and_admits_what_both_do(one: Label, two: Label) -> None:
    joined = one.join(two)
    assert joined.covers(one)
    assert joined.covers(two)
    assert joined.data_class == min(one.data_class, two.data_class)
    assert reached(joined) == reached(one) & reached(two)


@given(labels, labels, labels)
def test_it_is_monotone(one: Label, two: Label, more: Label) -> None:
    if two.covers(one):
        assert two.join(more).covers(one.join(more))
        assert reached(two) <= reached(one)


@given(st.lists(labels, min_size=1, max_size=8))
def test_nothing_lowers_a_label(words: list[Label]) -> None:
    label = words[0]
    for word in words[1:]:
        before, label = label, label.join(word)
        assert label.covers(before)
        assert reached(label) <= reached(before)


@pytest.mark.parametrize(("data_class", "tiers"), [("P0", {"L0", "L1"}), ("P1", {"L0", "L1"}), ("P2", set(TIER_BITS))])
def test_where_a_class_may_go(data_class: str, tiers: set[str]) -> None:
    label = Label(data_class)  # type: ignore[arg-type]  # a text from the table
    assert {tier for tier in [*TIER_BITS, "L3", ""] if label.admits(tier, None)} == tiers


def test_a_place_without_a_region_is_in_none() -> None:
    label = Label("P2", regions=frozenset({"eu"}))
    assert [label.admits("L2", region) for region in ("eu", "cn", None)] == [True, False, False]
    assert not Label("P2", regions=frozenset()).admits("L1", None)


def test_an_assumption_joined_with_a_word_is_none() -> None:
    assumed = Label("P0", assumed=True)
    assert not assumed.join(Label("P0")).assumed
    assert assumed.join(assumed).assumed
    assert assumed == Label("P0")
