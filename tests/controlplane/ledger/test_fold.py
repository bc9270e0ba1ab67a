"""What facts make of one request, without a database."""

import itertools

import pytest

from controlplane.ledger.dockets import Docket
from controlplane.ledger.fold import Fold, Record
from controlplane.ledger.posting import Numbering, Posting
from controlplane.ledger.rules import RULES, Pay, Policy, charge_of, cost_of
from controlplane.ledger.states import State
from controlplane.ledger.tables import NO_CURRENCY, Book, Flag, Kind
from fastpath.money.price import MOST_NANO, Billable, Price
from fastpath.outbox.facts import Attempt, Fact
from tests.controlplane.ledger.facts import (
    CHARGE,
    COST,
    PRICE,
    RESERVED,
    SECRET,
    USAGE,
    delivered,
    end,
    failed,
    intent,
    mark,
    refused,
    request_id,
)

NUMBERS = Numbering(SECRET)


def fresh() -> Fold:
    return Fold(Policy(), NUMBERS, 5_000_000, Record(request_id(1)))


def apply(fold: Fold, *facts: Fact) -> Fold:
    docket = Docket(request_id(1))
    for fact in facts:
        docket.add(fact)
    fold.apply(docket)
    return fold


def sums(postings: list[Posting]) -> dict[tuple[str, str], int]:
    total: dict[tuple[str, str], int] = {}
    for posting in postings:
        key = (posting.book.name, posting.currency)
        total[key] = total.get(key, 0) + posting.amount
    return total


def test_a_request_costs_what_was_used_and_is_charged_with_markup() -> None:
    fold = apply(fresh(), intent(1), end(1))
    assert sums(fold.postings) == {("COST", "USD"): COST, ("CHARGE", "USD"): CHARGE}
    assert fold.record.state == State.SETTLED
    assert (fold.record.charged, fold.record.input_tokens, fold.record.output_tokens) == (CHARGE, 1_000, 200)


def test_every_order_of_arrival_in_every_batching_comes_to_the_same() -> None:
    facts: list[Fact] = [intent(1), mark(1), intent(1, 2), end(1, failed(1), delivered(2))]
    for order in itertools.permutations(facts):
        for cut in range(len(order) + 1):
            fold = apply(apply(fresh(), *order[:cut]), *order[cut:])
            assert fold.record.state == State.SETTLED, (order, cut)
            assert sums(fold.postings) == {("COST", "USD"): COST, ("CHARGE", "USD"): CHARGE}, (order, cut)
            apply(fold, *order)
            assert len(fold.postings) == 2, "told again"


@pytest.mark.parametrize("outcome", [*RULES, "never-heard-of"])
def test_the_rules_say_who_pays(outcome: str) -> None:
    fold = apply(fresh(), intent(1), end(1, outcome=outcome))
    paid = RULES.get(outcome, Pay.NOTHING) is Pay.USAGE
    assert fold.record.charged == (CHARGE if paid else 0)
    assert sums(fold.postings)["COST", "USD"] == COST, "the provider charges all the same"


def test_a_failed_attempt_is_cost_and_no_charge() -> None:
    fold = apply(fresh(), intent(1), intent(1, 2), end(1, failed(1, Billable(input=100)), delivered(2)))
    assert sums(fold.postings) == {("COST", "USD"): COST + 300, ("CHARGE", "USD"): CHARGE}


def test_one_without_attempts_is_void() -> None:
    fold = apply(fresh(), refused(1))
    assert (fold.record.state, fold.postings) == (State.VOIDED, [])
    assert fold.record.tenant == "acme"


def test_without_a_price_tokens_are_counted_and_nothing_is_charged() -> None:
    fold = apply(fresh(), intent(1, price=None), end(1))
    assert sums(fold.postings) == {("COST", NO_CURRENCY): 0, ("CHARGE", NO_CURRENCY): 0}
    assert fold.record.flags == Flag.UNPRICED
    assert fold.record.output_tokens == 200


@pytest.mark.parametrize(
    "usage", [Billable(output=10**9), Billable(input=-5, output=10**15), Billable(input=2**63 - 1, output=2**63 - 1)]
)
def test_a_lie_about_usage_is_clamped_to_the_reservation_and_disputed(usage: Billable) -> None:
    fold = apply(fresh(), intent(1), end(1, delivered(1, usage)))
    assert sums(fold.postings) == {("COST", "USD"): RESERVED, ("CHARGE", "USD"): RESERVED}
    assert fold.record.flags & Flag.DISPUTED
    assert all(posting.claimed is not None and RESERVED < posting.claimed <= MOST_NANO for posting in fold.postings)


def test_a_negative_usage_pays_nobody() -> None:
    fold = apply(fresh(), intent(1), end(1, delivered(1, Billable(input=-1_000, output=-1))))
    assert set(sums(fold.postings).values()) == {0}
    assert fold.record.flags & Flag.DISPUTED


def test_where_nothing_was_reserved_only_the_column_bounds_it() -> None:
    unheld, dear = intent(1, reserved=0), Price("v", "USD", output=2**62)
    assert cost_of(unheld, PRICE, Billable(output=10**9)).nano == 15 * 10**9
    for amount in (cost_of, charge_of):
        assert amount(unheld, dear, Billable(output=2**62)).nano == MOST_NANO


def test_an_end_waits_for_an_intent_that_prices_it() -> None:
    fold = apply(fresh(), intent(1), end(1, failed(1, USAGE), delivered(2)))
    assert (fold.record.state, fold.postings) == (State.WAITING, [])
    apply(fold, intent(1, 2))
    assert sums(fold.postings) == {("COST", "USD"): 2 * COST, ("CHARGE", "USD"): CHARGE}
    assert fold.record.early is None


def test_a_dead_workers_stream_is_settled_from_its_last_mark() -> None:
    fold = apply(fresh(), intent(1), mark(1, usage=Billable(input=9)), mark(1, usage=Billable(input=1_000, output=100)))
    fold.abandon()
    assert sums(fold.postings) == {("COST", "USD"): 4_500, ("CHARGE", "USD"): 4_950}
    assert fold.record.flags == Flag.ESTIMATED | Flag.ABANDONED
    fold.abandon()
    assert len(fold.postings) == 2, "once"


def test_a_dead_workers_request_without_a_mark_costs_its_prompt_and_is_not_charged() -> None:
    fold = apply(fresh(), intent(1))
    fold.abandon()
    assert sums(fold.postings) == {("COST", "USD"): 3_000}
    assert fold.record.state == State.ESTIMATED


@pytest.mark.parametrize(
    ("late", "cost", "charge"),
    [
        (end(1), COST, CHARGE),  # more
        (end(1, delivered(1, Billable(input=1_000))), 3_000, 3_300),  # less
        (end(1, failed(1)), 0, 0),  # nothing after all
        (end(1, delivered(1, Billable(input=1_000, output=100))), 4_500, 4_950),  # the same
        (end(1, outcome="error"), COST, 0),
    ],
)
def test_a_late_end_corrects_an_estimate_with_new_transactions(late: Fact, cost: int, charge: int) -> None:
    fold = apply(fresh(), intent(1), mark(1, usage=Billable(input=1_000, output=100)))
    fold.abandon()
    estimated = len(fold.postings)
    apply(fold, late)
    assert sums(fold.postings) == {("COST", "USD"): cost, ("CHARGE", "USD"): charge}
    assert {posting.kind for posting in fold.postings[estimated:]} <= {Kind.LATE}
    assert fold.record.state == State.SETTLED
    assert fold.record.charged == charge
    tokens = [sum(getattr(posting, name) for posting in fold.postings) for name in ("input_tokens", "output_tokens")]
    assert tokens == [fold.record.input_tokens, fold.record.output_tokens]
    assert sum(posting.requests for posting in fold.postings) == 1
    apply(fold, late)
    assert fold.record.charged == charge


def test_a_late_end_that_names_another_attempt_moves_the_charge() -> None:
    fold = apply(fresh(), intent(1), intent(1, 2), mark(1, 2, Billable(input=10)))
    fold.abandon()
    apply(fold, end(1, delivered(1), failed(2)))
    charged = {posting.attempt: 0 for posting in fold.postings}
    for posting in fold.postings:
        charged[posting.attempt] += posting.amount if posting.book is Book.CHARGE else 0
    assert charged == {1: CHARGE, 2: 0}
    assert (fold.record.charged, fold.record.input_tokens) == (CHARGE, 1_000)
    assert sum(posting.input_tokens for posting in fold.postings) == 1_000


def test_a_late_end_never_takes_back_what_was_refunded_already() -> None:
    fold = apply(fresh(), intent(1), mark(1))
    fold.abandon()
    fold.record.refunded = 5_000
    apply(fold, end(1, failed(1)))
    assert fold.record.charged == 5_000


def test_abandoning_one_whose_intent_never_came_books_the_rest() -> None:
    fold = apply(fresh(), intent(1), end(1, failed(1, USAGE), Attempt(2, "other", USAGE, delivered=True)))
    fold.abandon()
    assert sums(fold.postings) == {("COST", "USD"): COST}
    assert fold.record.flags & Flag.UNKNOWN_ATTEMPT
    apply(fold, intent(1, 2))
    assert sums(fold.postings) == {("COST", "USD"): 2 * COST, ("CHARGE", "USD"): CHARGE}
    assert fold.record.state == State.SETTLED


def test_ids_differ_by_each_of_what_they_are_made_of() -> None:
    ids = {
        numbering.id_of(request_id(request), attempt, kind)
        for numbering in (NUMBERS, Numbering(bytes(32)))
        for request in (1, 2)
        for attempt in (1, 2)
        for kind in ("cost", "charge", "cost.late")
    }
    assert len(ids) == 24
    assert {len(key) for key in ids} == {16}


def test_an_id_is_an_hmac() -> None:
    import hmac

    message = request_id(7) + (3).to_bytes(4, "big") + b"charge"
    assert NUMBERS.id_of(request_id(7), 3, "charge") == hmac.digest(SECRET, message, "sha256")[:16]


def test_a_secret_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="restore it from backup"):
        Numbering(b"short")
