"""The short way of a plain request says what the long way says."""

from datetime import date

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from controlplane.ledger.dockets import Docket
from controlplane.ledger.fold import Fold, Record
from controlplane.ledger.fresh import RELAY
from controlplane.ledger.plain import Plains
from controlplane.ledger.posting import Line, Numbering, line_of, row_of
from controlplane.ledger.rules import RULES, Policy
from controlplane.ledger.states import State
from controlplane.ledger.tables import REQUESTS, TRANSACTIONS, Book, Kind
from controlplane.ledger.tally import tally
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


def docket_of(*facts: Fact, known: bool = False) -> Docket:
    """known: with fields that somebody took out of them before."""
    docket = Docket(ID)
    for fact in facts:
        if known and not isinstance(fact, Mark):
            docket.take(fact, astuple(fact))
        else:
            docket.add(fact)
    return docket


def relayed(record: Record, charge: Line, cost: Line) -> list[object]:
    """What is sent of a request of which the long way says this. The rest is said by the SQL, as it is here."""
    request = dict(zip([column.name for column in REQUESTS.c], astuple(record), strict=True))
    names = [column.name for column in TRANSACTIONS.c if column.name != "seq"]
    charged, costed = (dict(zip(names, row_of(line), strict=True)) for line in (charge, cost))
    said = {"state": State.SETTLED, "flags": 0, "attempts": 1, "refunded": 0, "early": None}
    assert request | said == request
    said = {
        "kind": Kind.ORIGINAL,
        "attempt": 1,
        "corrects": None,
        "claimed": None,
        "flags": 0,
        "reason": "",
        "actor": "",
    }
    said |= {name: request[name] for name in ("request", "tenant", "model", "admitted", "currency")}
    same = {name: charged[name] for name in ("endpoint", "price", "usage", "posted")}
    assert charged | said == charged
    assert costed | said | same == costed
    assert (charged["book"], costed["book"], request["charged"]) == (Book.CHARGE, Book.COST, charged["amount"])
    assert (charged["debit"], charged["credit"]) == (f"receivable:{request['tenant']}", f"revenue:{request['model']}")
    assert (costed["debit"], costed["credit"]) == tuple(f"{side}:{same['endpoint']}" for side in ("expense", "payable"))
    ids = bytearray(record.request + charge.id + cost.id)
    values = request | same | {"ids": ids, "charge": charged["amount"], "cost": costed["amount"]}
    return [values[column.name] for column in RELAY.table.c]


def assert_same(docket: Docket) -> bool:
    """Whether the short way was open."""
    plains = Plains(POLICY, NUMBERS, NOW)
    if not plains.take(docket):
        assert (plains.values, plains.count, plains.sums.rows()) == ([], 0, [])
        return False
    fold = Fold(POLICY, NUMBERS, NOW, Record(ID))
    fold.apply(docket)
    lines = [line_of(posting) for posting in fold.postings]
    assert (plains.count, plains.values) == (1, relayed(fold.record, *lines))
    assert plains.sums.rows() == tally(lines)
    return True


@given(st.lists(INTENTS | MARKS | ENDS, max_size=5))
@example([intent(1), end(1)])
@example([intent(1), end(1, delivered(1, Billable(1, 2, 4, 8, 16, 32, 64, 128, 256)))])
def test_both_ways_say_the_same(facts: list[Fact]) -> None:
    assert assert_same(docket_of(*facts)) == assert_same(docket_of(*facts, known=True))


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


def test_what_is_remembered_of_a_price_is_not_taken_for_another() -> None:
    plains, facts = Plains(POLICY, NUMBERS, NOW), []
    for number, rate in enumerate((100, 200, 100), 1):
        price = Price(version=f"v{rate}", currency="USD", input=rate, output=rate, request=rate)
        docket = Docket(request_id(number))
        for fact in (intent(number, price=price), end(number)):
            docket.add(fact)
        facts.append(docket)
        assert plains.take(docket)
    expected: list[object] = []
    for docket in facts:
        alone = Plains(POLICY, NUMBERS, NOW)
        assert alone.take(docket)
        expected += alone.values
    assert (plains.count, plains.values) == (len(facts), expected)
