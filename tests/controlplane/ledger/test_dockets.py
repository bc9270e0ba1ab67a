"""A judge that remembers judges every fact as one that never saw another."""

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from controlplane.ledger.dockets import Docket, Judge
from fastpath.money.price import Price
from fastpath.outbox.facts import Fact, Payer
from tests.controlplane.ledger.facts import ACME, PRICE, T0, delivered, end, intent, mark, request_id

OTHER = Payer("acme", "research", "\0", "key-1")
DEAR = Price("v", "USD", input=-1)
PAYERS = st.sampled_from([ACME, OTHER]) | st.builds(Payer, st.sampled_from(["acme", "\ud800"]))
WORDS = st.sampled_from(["m", "\0", "x" * 1_100])
FACTS: st.SearchStrategy[Fact] = st.one_of(
    st.builds(
        lambda payer, model, endpoint, price, charge, ts: replace(
            intent(1, payer=payer, price=price, ts=ts, endpoint=endpoint), model=model, charge=charge
        ),
        PAYERS, WORDS, WORDS, st.sampled_from([PRICE, DEAR, None]), st.sampled_from([PRICE, DEAR, None]),
        st.sampled_from([T0, 0.0, float("nan")]),
    ),
    st.builds(
        lambda payer, outcome, path: replace(end(1, payer=payer, outcome=outcome), path=path), PAYERS, WORDS, WORDS
    ),
    st.builds(lambda one, two: end(1, delivered(one), delivered(two)), st.integers(0, 2), st.integers(0, 2)),
    st.builds(mark, st.just(b"short") | st.just(request_id(1)), st.integers(0, 1_001)),
)  # fmt: skip


@given(st.lists(FACTS, max_size=12))
@example([intent(1), intent(1, endpoint="\0"), intent(1)])
@example([end(1), replace(end(1), model="\0"), replace(end(1), path="\0"), end(1)])
@example([intent(1), intent(1, price=DEAR), intent(1), replace(intent(1), charge=DEAR)])
def test_it_judges_each_as_if_it_were_the_first(facts: list[Fact]) -> None:
    judge = Judge(T0, 3_600.0)
    assert [judge.find_fault(fact) for fact in facts] == [Judge(T0, 3_600.0).find_fault(fact) for fact in facts]


@given(st.permutations([intent(1), intent(1, 2), intent(1, endpoint="later"), mark(1), mark(1, 2)]))
def test_a_docket_keeps_one_of_each_attempt(facts: list[Fact]) -> None:
    docket = Docket(request_id(1))
    for fact in facts:
        docket.add(fact)
    docket.add(end(1))
    docket.add(end(1, outcome="error"))
    assert sorted(known.attempt for known in docket.intents) == [1, 2]
    assert docket.intents[0] is next(fact for fact in facts if fact in docket.intents)
    assert sorted(known.attempt for known in docket.marks) == [1, 2]
    assert docket.end == end(1)
    assert docket.facts() == [*docket.intents, *docket.marks, end(1)]
