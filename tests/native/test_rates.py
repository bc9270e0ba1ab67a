"""Prices as a request multiplies them, against the arithmetic that everything else bills by."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from _native.rates import Rates, decimal_text, nano_text
from fastpath.account.tariff import rates_of
from fastpath.money.amount import format_nano
from scheduler.money import MOST_NANO, Billable, Price, nano_of, pico_of

rate = st.integers(0, 10**9)
maybe = st.none() | rate
tokens = st.integers(0, 10**7)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    long = draw(st.none() | st.builds(Price, st.just("v"), st.just("USD"), rate, rate))
    return Price(
        "v",
        "USD",
        input=draw(rate),
        output=draw(rate),
        cached=draw(maybe),
        cache_write=draw(maybe),
        reasoning=draw(maybe),
        request=draw(rate),
        long_from=draw(st.integers(1, 10**6)) if long is not None else 0,
        long=long,
    )


@given(prices(), tokens, tokens, tokens, tokens, st.sampled_from([0, 1, 150_000, 10**6, 10**9]))
def test_a_bill_is_the_ledgers(price: Price, fresh: int, cached: int, output: int, reasoning: int, markup: int) -> None:
    rates = rates_of(price, markup)
    assert rates is not None
    nano = rates.bill(fresh + cached, cached, output + reasoning, reasoning)
    right = nano_of(pico_of(price, Billable(fresh, cached, 0, output, reasoning)), markup)
    if (price.long is not None and fresh + cached > price.long_from) or right > MOST_NANO:
        assert nano == -1
    else:
        assert nano == right


@given(prices(), tokens, tokens, st.data())
def test_no_usage_of_so_many_tokens_is_dearer(price: Price, prompt: int, answer: int, data: st.DataObject) -> None:
    rates = rates_of(price)
    assert rates is not None
    most = rates.most(prompt, answer)
    if price.long is not None and prompt > price.long_from:
        assert most == -1
        return
    written = data.draw(st.integers(0, prompt))
    cached = data.draw(st.integers(0, prompt - written))
    reasoning = data.draw(st.integers(0, answer))
    usage = Billable(prompt - written - cached, cached, written, answer - reasoning, reasoning)
    assert most >= nano_of(pico_of(price, usage))
    sides = [Billable(input=prompt), Billable(cached=prompt), Billable(cache_write=prompt)]
    others = [(answer, 0), (0, answer)]
    dearest = [
        pico_of(price, Billable(side.input, side.cached, side.cache_write, output, thought))
        for side in sides
        for output, thought in others
    ]
    assert most == nano_of(max(dearest))


@pytest.mark.parametrize("nano", [(0, 1, 0, 0), (1, 0, 0, 1), (-1, 0, 0, 0), (1 << 40, 0, 0, 0), (0, 0, 1 << 62, 0)])
def test_what_no_usage_is_has_no_bill(nano: tuple[int, int, int, int]) -> None:
    assert Rates(1, 1, 1, 1, 1, 1, 1).bill(*nano) == -1


@pytest.mark.parametrize("wrong", [-1, 1 << 51])
@pytest.mark.parametrize("place", range(7))
def test_what_no_price_is_is_refused(wrong: int, place: int) -> None:
    with pytest.raises(ValueError, match="out of all bounds"):
        Rates(*[wrong if at == place else 1 for at in range(7)])
    assert rates_of(Price("v", "USD", input=1 << 51)) is None


@pytest.mark.parametrize(("pico", "nano"), [(499, 0), (500, 0), (501, 1), (1_499, 1), (1_500, 2), (2_500, 2)])
@pytest.mark.parametrize("markup", [0, 10**6])
def test_a_half_goes_to_the_even_one(pico: int, nano: int, markup: int) -> None:
    assert Rates(0, 0, 0, 0, pico, 0, 0, markup).bill(0, 0, 0, 0) == nano_of(pico, markup)
    assert Rates(0, 0, 0, 0, pico, 0, 0).bill(0, 0, 0, 0) == nano


@given(st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**12), 10**12).map(lambda n: n * 10**6))
def test_an_amount_is_written_as_everywhere(nano: int) -> None:
    assert nano_text(nano).decode() == format_nano(nano)


@given(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 18).map(lambda n: 10 ** abs(n) - 1))
@example(-(2**63))
@example(0)
def test_a_whole_number_is_written_as_python_does(number: int) -> None:
    assert decimal_text(number) == b"%d" % number
