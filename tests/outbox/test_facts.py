"""Facts cross as they are, and whatever else is found in an outbox is refused in one way."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.money.price import Billable, Price
from fastpath.outbox.facts import Alert, Attempt, End, Intent, Mark, Payer, decode, decode_message, encode

ID = bytes(range(16))
INTENT = Intent(ID, 1, 1_795_000_000.25, Payer("t", "", "u", "k"), "m", "e", Price("v", "USD", 1, 2), 0, 5, 7, 9)
END = End(ID, 1.0, Payer(), (Attempt(1, "e", None), Attempt(2, "f", Billable(3), delivered=True)), 200, "complete")


@pytest.mark.parametrize("fact", [INTENT, Mark(ID, 2, Billable(input=1, output=2), True), END])
def test_a_fact_crosses(fact: Intent | Mark | End) -> None:
    assert decode(encode(fact)) == fact


def test_an_alert_crosses_and_is_no_fact_of_a_request() -> None:
    alert = Alert(1.5, "t", "team", ("t", "search"), "b", "money", "EUR", 80, "warn", 8, 10, "rolling", 7, 20_697)
    assert decode_message(encode(alert)) == alert
    assert decode_message(encode(INTENT)) == INTENT
    with pytest.raises(msgspec.DecodeError):
        decode(encode(alert))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93\x01",
        b"\xa2\xff\xff",  # text that is no UTF-8
        msgspec.msgpack.encode([9, ID]),
        encode(INTENT)[:-1],
        encode(INTENT).replace(b"USD", b"\xff\xff\xff"),
        b"\x91" * 5_000,  # deeper than anything that recurses
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(data)


@given(st.binary(max_size=60))
def test_rubbish_is_refused_or_is_a_fact(data: bytes) -> None:
    try:
        found = decode(data)
    except msgspec.DecodeError:
        return
    assert isinstance(found, Intent | Mark | End)
