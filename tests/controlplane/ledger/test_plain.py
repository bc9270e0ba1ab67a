"""The short way of a plain request says what the long way says."""

from datetime import date

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from controlplane.ledger.dockets import Docket
from controlplane.ledger.fold import Fold, Record
from controlplane.ledger.plain import settle_plain
from controlplane.ledger.posting import Numbering, line_of
from controlplane.ledger.rules import RULES, Policy
from fastpath.money.currency import Rate
from fastpath.money.price import MOST_NANO, Billable, Price
from fastpath.outbox.facts import Attempt, End, Fact, Intent, Mark, Payer
from tests.controlplane.ledger.facts import SECRET, delivered, end, intent, mark, request_id

NUMBERS, POLICY, NOW = Numbering(SECRET), Policy(), 5_000_000
ID = request_id(1)
COUNTS = st.integers(0, 2_000) | st.sampled_from([-1, MOST_NANO, MOST_NANO + 1])
USAGES = st.builds(Billable, *[COUNTS] * 9)
PICO = st.integers(0, 10_000_000)
PRICES = st.builds(
    Price, version=st.just("v"), currency=st.sampled_from(["USD", "EUR"]), input=PICO, output=PICO,
    cached=st.none() | PICO, cache_write_long=st.none() | PICO, audio_output=st.none() | PICO, request=PICO,
    long_from=st.sampled_from([0, 1_000]), long=st.none() | st.builds(Price, st.just("l"), st.just("USD"), PICO, PICO),
)  # fmt: skip
PAYERS = st.builds(Payer, st.sampled_from(["", "acme"]), st.sampled_from(["", "core"]), st.just("ann"), st.just("k"))
INTENTS = st.builds(
    Intent, request=st.just(ID), attempt=st.sampled_from([1, 1, 1, 2]), ts=st.floats(1e9, 2e9), payer=PAYERS,
    model=st.just("m"), endpoint=st.just("e"), price=st.none() | PRICES, markup_ppm=st.integers(-1_000_000, 3_000_000),
    reserved=st.sampled_from([0, 1, 10**6, MOST_NANO]), input_estimate=st.just(9), output_most=st.just(9),
    charge=st.none() | PRICES, currency=st.sampled_from(["", "USD", "EUR"]),
    rate=st.none() | st.just(Rate("USD", "EUR", date(2026, 1, 1), 900_000_000)),
)  # fmt: skip
ATTEMPTS = st.builds(
    Attempt, attempt=st.sampled_from([1, 1, 1, 2]), endpoint=st.just("e"), usage=st.none() | USAGES,
    estimated=st.booleans(), disputed=st.booleans(), delivered=st.booleans(),
)  # fmt: skip
ENDS = st.builds(
    End, request=st.just(ID), ts=st.floats(1e9, 2e9), payer=PAYERS, attempts=st.lists(ATTEMPTS, max_size=2).map(tuple),
    status=st.just(200), outcome=st.sampled_from([*RULES, "unheard of"]), model=st.just("m"), path=st.just("/v1/x"),
)  # fmt: skip
MARKS = st.builds(Mark, st.just(ID), st.sampled_from([1, 2]), USAGES, st.booleans())


def docket_of(*facts: Fact) -> Docket:
    docket = Docket(ID)
    for fact in facts:
        docket.add(fact)
    return docket


def assert_same(docket: Docket) -> bool:
    """Whether the short way was open."""
    plain = settle_plain(docket, POLICY, NUMBERS, NOW)
    if plain is None:
        return False
    fold = Fold(POLICY, NUMBERS, NOW, Record(ID))
    fold.apply(docket)
    assert plain.row == astuple(fold.record)
    assert [plain.charge, plain.cost] == [line_of(posting) for posting in fold.postings]
    return True


@given(st.lists(INTENTS | MARKS | ENDS, max_size=5))
@example([intent(1), end(1)])
@example([intent(1), end(1, delivered(1, Billable(1, 2, 4, 8, 16, 32, 64, 128, 256)))])
def test_both_ways_say_the_same(facts: list[Fact]) -> None:
    assert_same(docket_of(*facts))


@given(PRICES, USAGES, st.integers(-1_000_000, 3_000_000), st.sampled_from([0, 10**12, MOST_NANO]))
def test_whatever_the_numbers_are(price: Price, usage: Billable, markup: int, reserved: int) -> None:
    told = replace(intent(1, price=price, reserved=reserved), markup_ppm=markup)
    over = end(1, Attempt(1, "openai-1", usage, delivered=True))
    short = assert_same(docket_of(told, over))
    assert short or markup > 0 or max(astuple(usage)) > 2_000 or min(astuple(usage)) < 0


def test_what_nearly_all_requests_are_goes_the_short_way() -> None:
    assert assert_same(docket_of(intent(1), end(1)))
    assert assert_same(docket_of(intent(1), mark(1), end(1), intent(1)))


def test_what_needs_a_closer_look_does_not() -> None:
    assert not assert_same(docket_of(intent(1)))
    assert not assert_same(docket_of(end(1)))
    assert not assert_same(docket_of(intent(1), intent(1, 2), end(1)))
    assert not assert_same(docket_of(intent(1, price=None), end(1)))
    assert not assert_same(docket_of(intent(1, reserved=1), end(1)))
    assert not assert_same(docket_of(intent(1), end(1, outcome="error")))
