"""Which usage is billed when the provider tells the truth, too much, nonsense or nothing (fault F18)."""

import json
from typing import Any

import pytest

from backends.dialects.billable import read_answer
from fastpath.money.ask import Ask
from fastpath.money.price import Billable, Price, Reading, pico_of
from fastpath.money.reserve import TEMPLATE_MOST, Bounds, Clamp, reserve
from fastpath.money.sanity import Settled, settle_usage

PRICE = Price("v", "USD", input=3, output=15, cached=1)
HELD = reserve(Ask(size=1_000, max_tokens=200), "chat", Bounds(), Clamp(), PRICE)
OWN = Billable(300, output=80)


def settle(answer: Any, own: Billable | None = OWN) -> Settled:
    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return settle_usage(read_answer(data), HELD, PRICE, own)


def usage(prompt: Any, answer: Any, **details: Any) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": answer, **details}}


def test_a_provider_that_keeps_to_the_bounds_is_believed() -> None:
    assert settle(usage(310, 85)) == Settled(Billable(310, output=85))
    assert settle(usage(310, 85), own=None) == Settled(Billable(310, output=85))
    most = 1_000 + TEMPLATE_MOST
    assert settle(usage(most, 200), own=None) == Settled(Billable(most, output=200))


def test_zero_is_believed() -> None:
    assert settle(usage(0, 0)) == Settled(Billable())


@pytest.mark.parametrize("lie", [-1, 3.5, "12", True, [], {}])
def test_nonsense_is_replaced_by_our_count_and_disputed(lie: Any) -> None:
    assert settle(usage(310, lie)) == Settled(Billable(310, output=80), estimated=True, disputed=True)
    assert settle(usage(lie, 85)) == Settled(Billable(300, output=85), estimated=True, disputed=True)
    assert settle(usage(310, lie), own=None) == Settled(Billable(310, output=200), estimated=True, disputed=True)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e"])
def test_what_is_not_json_is_replaced_by_our_count_and_disputed(number: bytes) -> None:
    settled = settle(b'{"usage":{"prompt_tokens":310,"completion_tokens":%b}}' % number)
    assert settled == Settled(OWN, estimated=True, disputed=True)


@pytest.mark.parametrize("huge", [201, 10**9, 10**30])
def test_too_much_is_capped_by_the_reservation_and_disputed(huge: int) -> None:
    settled = settle(usage(310, huge))
    assert settled.usage == Billable(310, output=200)
    assert (settled.disputed, settled.estimated) == (True, False)


def test_what_is_told_of_a_cache_is_capped_last() -> None:
    most = HELD.prompt_most
    settled = settle(usage(most + 50, 85, prompt_tokens_details={"cached_tokens": most - 10}))
    assert settled.usage == Billable(10, most - 10, output=85)
    assert settled.disputed


@pytest.mark.parametrize("nothing", [{"choices": []}, {"usage": None}, {"usage": {}}, [], b""])
def test_silence_is_our_count_and_marked_as_an_estimate(nothing: Any) -> None:
    assert settle(nothing) == Settled(OWN, estimated=True)


def test_silence_that_we_did_not_count_either_is_billed_as_held_and_disputed() -> None:
    settled = settle({}, own=None)
    assert settled == Settled(Billable(HELD.prompt_most, output=200), estimated=True, disputed=True)
    assert pico_of(PRICE, settled.usage) == HELD.pico


def test_our_own_count_is_capped_too() -> None:
    assert settle({}, own=Billable(10**6, output=10**6)).usage == Billable(HELD.prompt_most, output=200)


def test_parts_that_the_request_cannot_have_cost_no_more_than_was_held() -> None:
    price = Price("v", "USD", input=3, output=15, audio_input=40, audio_output=80, cache_write_long=90)
    held = reserve(Ask(size=1_000, max_tokens=200), "chat", Bounds(), Clamp(), price)
    claimed = Billable(audio_input=held.prompt_most, audio_output=200)
    settled = settle_usage(Reading(claimed), held, price, None)
    assert settled == Settled(Billable(held.prompt_most, output=200), disputed=True)


def test_pictures_are_those_that_were_asked_for() -> None:
    price = Price("v", "USD", image=40)
    held = reserve(Ask(size=100, answers=False, images=3), "images", Bounds(), Clamp(), price)
    assert settle_usage(None, held, price, Billable(images=2)).usage == Billable(images=2)
    assert settle_usage(None, held, price, Billable(images=9)).usage == Billable(images=3)
    assert settle_usage(Reading(Billable()), held, price, None).usage.images == 3
