"""What a worker writes for the ledger is, to the byte, the Intent and the End that `fastpath.outbox.facts` means."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from _native.entry import Entry
from backends.dialects.usage import Usage
from fastpath.account.payer import payer_of
from fastpath.account.tariff import Terms
from fastpath.account.wording import Wording, attempts_of, booking_of, clause_of, write_end, write_intent
from fastpath.money.currency import Rate
from fastpath.money.price import Billable, Price
from fastpath.outbox.facts import End, Intent, decode, encode
from fastpath.record import DecisionRecord
from fastpath.settings import Key

HASH = "b2:00000000:" + "0" * 64
ID = "req_" + bytes(range(16)).hex()
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
count = st.integers(0, 2**40)
maybe = st.none() | count


@st.composite
def prices(draw: st.DrawFn) -> Price:
    long = draw(st.none() | st.builds(Price, text, text, count, count))
    return Price(draw(text), "USD", draw(count), draw(count), draw(maybe), draw(maybe), request=draw(count), long=long)


rates = st.builds(Rate, st.just("USD"), st.just("EUR"), st.dates(date(2020, 1, 1)), count)
terms = st.none() | st.builds(Terms, st.none() | prices(), st.none() | prices(), count, text, st.none() | rates)
parts = st.builds(Billable, *(count for _ in range(9)))
usages = st.builds(Usage, count, count, count, count, parts=st.none() | parts)
keys = st.none() | st.builds(
    Key,
    name=text,
    hash=st.just(HASH),
    tenant=st.none() | text,
    team=st.none() | text,
    user=st.none() | text,
    ids=st.just(()) | st.tuples(text, text, text, text),
)


@st.composite
def records(draw: st.DrawFn) -> DecisionRecord:
    record = DecisionRecord(ID, draw(st.floats(0, 2e9)), "POST", "/v1/chat/completions", "127.0.0.1")
    record.attempts = draw(st.integers(0, 4))
    record.endpoint = draw(st.none() | text)
    record.usage = draw(st.none() | usages)
    record.status = draw(st.integers(0, 599))
    record.outcome = draw(st.sampled_from(["complete", "refused", "error", "broken", "client_left", "replayed"]))
    record.estimated, record.disputed = draw(st.booleans()), draw(st.booleans())
    record.bytes_in = draw(count)
    if draw(st.booleans()):
        record.failures = [f"{name} cause moment" for name in draw(st.lists(text, max_size=record.attempts))]
    return record


@given(records(), keys, terms, text, text, count, count)
def test_an_intent(
    record: DecisionRecord, key: Key | None, by: Terms | None, model: str, endpoint: str, reserved: int, most: int
) -> None:
    wording, entry = Wording(), Entry()
    booking = booking_of(record.id, wording.payer(key))
    write_intent(entry, booking, record, wording.clause(by, model, endpoint), reserved, most)
    said = by or Terms()
    meant = Intent(
        request=bytes(range(16)),
        attempt=record.attempts,
        ts=record.ts,
        payer=payer_of(key),
        model=model,
        endpoint=endpoint,
        price=said.price,
        markup_ppm=said.markup_ppm,
        reserved=reserved,
        input_estimate=record.bytes_in // 4,
        output_most=most,
        charge=None if said.charge is said.price else said.charge,
        currency=said.currency,
        rate=said.rate,
    )
    assert entry.take() == encode(meant)
    assert decode(entry.take()) == meant


@given(records(), keys, text, text)
def test_an_end(record: DecisionRecord, key: Key | None, model: str, path: str) -> None:
    entry = Entry()
    write_end(entry, booking_of(record.id, Wording().payer(key)), record, model, path)
    meant = End(
        request=bytes(range(16)),
        ts=record.ts,
        payer=payer_of(key),
        attempts=attempts_of(record),
        status=record.status,
        outcome=record.outcome,
        model=model,
        path=path,
    )
    assert entry.take() == encode(meant)
    assert decode(entry.take()) == meant


def key_of(name: str, ids: tuple[str, ...] = ()) -> Key:
    return Key(name=name, hash=HASH, ids=ids)


def test_a_payer_that_was_kept_is_the_keys_own() -> None:
    wording = Wording()
    one, same, other = key_of("one"), key_of("one"), key_of("one", ("t", "m", "u", "k"))
    first = wording.payer(one)
    assert wording.payer(one) is first
    assert wording.payer(same) == first
    assert wording.payer(other) == encode(payer_of(other))  # type: ignore[arg-type]  # a part of a message
    assert wording.payer(None) != first


def test_a_clause_that_was_kept_is_of_these_terms_this_model_and_this_endpoint() -> None:
    wording = Wording()
    by, others = Terms(Price("v", "USD", 1)), Terms(Price("w", "USD", 1))
    asked = [(of, model, endpoint) for of in (by, others, None) for model in "mn" for endpoint in "ef"]
    for of, model, endpoint in [*asked, *asked]:
        found, meant = wording.clause(of, model, endpoint), clause_of(of or Terms(), model, endpoint)
        assert (found.front, found.back) == (meant.front, meant.back)
    assert wording.clause(by, "m", "e") is wording.clause(by, "m", "e")
