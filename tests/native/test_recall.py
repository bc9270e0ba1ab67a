"""The reader that remembers says of any bytes what the decoder says."""

from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from _native import recall as native
from _native.reference import recall as twin
from fastpath.money.currency import Rate
from fastpath.money.price import Billable, Price
from fastpath.outbox.facts import Alert, Attempt, End, Intent, Mark, Message, Payer, decode_message, encode

KINDS = (Intent, End, Attempt, Billable)
IDS = st.binary(min_size=16, max_size=16) | st.binary(max_size=20)
INTS = st.sampled_from(
    [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1, 2**63, -1, -33, -(2**40)]
)
TEXTS = st.sampled_from(["", "acme", "a" * 32, "b" * 300, "ü" * 70_000, "\0"])
TIMES = st.floats(allow_nan=False)
PRICES: st.SearchStrategy[Price] = st.builds(
    Price, TEXTS, st.just("USD"), INTS, INTS, cached=st.none() | INTS, long=st.none() | st.builds(Price, TEXTS, TEXTS)
)
RATES = st.none() | st.just(Rate("USD", "EUR", date(2026, 1, 1), 900_000_000))
PAYERS = st.builds(Payer, TEXTS, TEXTS, st.just("ann"), st.just("k"))
USAGES = st.builds(Billable, INTS, INTS, INTS, INTS, INTS)
INTENTS = st.builds(
    Intent, IDS, INTS, TIMES, PAYERS, TEXTS, TEXTS, st.none() | PRICES, INTS, INTS, INTS, INTS, st.none() | PRICES,
    st.sampled_from(["", "USD"]), RATES,
)  # fmt: skip
ATTEMPTS = st.builds(Attempt, INTS, TEXTS, st.none() | USAGES, st.booleans(), st.booleans(), st.booleans())
ENDS = st.builds(End, IDS, TIMES, PAYERS, st.lists(ATTEMPTS, max_size=2).map(tuple), INTS, TEXTS, TEXTS, TEXTS)
MARKS = st.builds(Mark, IDS, INTS, USAGES, st.booleans())
ALERT = Alert(1.0, "acme", "team", ("a", "b"), "m", "money", "USD", 80, "", 1, 2, "day", 1, 20_000)

PRICE, PAYER = Price("p@1", "USD", 3_000, 15_000), Payer("acme", "core", "ann", "key-1")
INTENT = Intent(bytes(16), 1, 1.5, PAYER, "m", "e", PRICE, 0, 50_000, 1_000, 500, currency="USD")
END = End(bytes(16), 2.5, PAYER, (Attempt(1, "e", Billable(200, 50), delivered=True),), 200, "complete", "m", "/v1/x")


def said(read: Any, data: bytes) -> Message | type[Exception]:
    try:
        found: Message = read(data)
    except msgspec.DecodeError as error:
        return type(error)
    return found


@given(st.lists(INTENTS | ENDS | MARKS | st.just(ALERT), max_size=6))
@example([INTENT, END])
def test_it_says_what_the_decoder_says(facts: list[Message]) -> None:
    reader = native.Recall(decode_message, KINDS)
    for data in [encode(fact) for fact in facts] * 2:  # the second time it remembers
        assert said(reader.read, data) == decode_message(data)


@given(st.sampled_from([INTENT, END]), st.integers(0, 300), st.integers(0, 255))
def test_whatever_byte_is_wrong(fact: Message, at: int, byte: int) -> None:
    reader, whole = native.Recall(decode_message, KINDS), encode(fact)
    reader.read(whole)
    at %= len(whole)
    for data in (whole[:at] + bytes([byte]) + whole[at + 1 :], whole[:at], whole + bytes([byte]), whole[at:]):
        for _ in range(2):
            assert encode_or_kind(said(reader.read, data)) == encode_or_kind(said(decode_message, data))


def encode_or_kind(found: Message | type[Exception]) -> bytes | type[Exception]:
    """Times may be no numbers here, which nothing is equal to."""
    return found if isinstance(found, type) else encode(found)


def test_what_repeats_is_one_object() -> None:
    reader = native.Recall(decode_message, KINDS)
    first, second = (reader.read(encode(msgspec.structs.replace(INTENT, request=bytes([n]) * 16))) for n in (1, 2))
    assert (first.request, second.request) == (b"\1" * 16, b"\2" * 16)
    assert first.payer is second.payer
    assert first.price is second.price
    one, two = (reader.read(encode(msgspec.structs.replace(END, request=bytes([n]) * 16))) for n in (1, 2))
    assert one.payer is two.payer
    assert one.attempts[0].endpoint is two.attempts[0].endpoint


def test_it_forgets_what_is_too_much() -> None:
    calls: list[bytes] = []

    def decode(data: bytes) -> Message:
        calls.append(data)
        return decode_message(data)

    reader = native.Recall(decode, KINDS, most=2)
    records = [encode(msgspec.structs.replace(INTENT, model=name)) for name in ("a", "b", "c")]
    for data in (*records[:2], *records[:2], records[2], records[0]):
        reader.read(data)
    assert calls == [*records, records[0]]
    long = encode(msgspec.structs.replace(INTENT, model="a" * 3_000))
    assert reader.read(long) == reader.read(long)
    assert calls[4:] == [long, long], "what is longer than any fact that is booked is not kept"


def test_what_is_equal_in_different_facts_is_one_object() -> None:
    reader = native.Recall(decode_message, KINDS)
    others = [msgspec.structs.replace(INTENT, payer=Payer("acme", key=f"key-{n}")) for n in range(3)]
    ends = [msgspec.structs.replace(END, payer=one.payer) for one in others]
    facts = [reader.read(encode(fact)) for fact in (*others, *ends) * 2][6:]
    assert facts == [*others, *ends]
    assert len({id(intent.price) for intent in facts[:3]}) == 1
    assert len({id(end.outcome) for end in facts[3:]}) == 1
    assert all(intent.payer is end.payer for intent, end in zip(facts[:3], facts[3:], strict=True))


@pytest.mark.parametrize("kind", [native, twin])
@given(st.lists(INTENTS | ENDS | MARKS | st.just(ALERT) | st.binary(max_size=40), max_size=6))
@example([INTENT, b"\x9f", ALERT, END, b"\x93\x01\xa1\xff"])
def test_all_are_read_in_their_order(kind: Any, records: list[Message | bytes]) -> None:
    found = [(n, one if isinstance(one, bytes) else encode(one), 8 * n) for n, one in enumerate(records)]
    facts, payloads, others = kind.Recall(decode_message, KINDS).read_all(found, Alert)
    told = [(data, said(decode_message, data)) for _, data, _ in found]
    wanted = [(data, one) for data, one in told if not isinstance(one, type | Alert)]
    assert list(zip(payloads, facts, strict=True)) == wanted
    assert others == [
        (data, one if isinstance(one, Alert) else None) for data, one in told if isinstance(one, type | Alert)
    ]


@pytest.mark.parametrize("kind", [native, twin])
def test_what_it_cannot_read_is_the_decoders(kind: Any) -> None:
    with pytest.raises(msgspec.DecodeError):
        kind.Recall(decode_message, KINDS).read(b"\x9f")
    with pytest.raises(TypeError):
        native.Recall(decode_message, KINDS).read(None)  # type: ignore[arg-type]  # what is refused
