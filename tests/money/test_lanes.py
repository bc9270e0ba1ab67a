"""The short way to a worst case says what the long one says, or nothing."""

from hypothesis import given
from hypothesis import strategies as st

from fastpath.account.held import Lane
from fastpath.account.tariff import DAY, Days, rates_of
from fastpath.money.ask import Ask
from fastpath.money.price import Price, nano_of
from fastpath.money.reserve import Bounds, Clamp, reserve

rate = st.integers(0, 10**7)
limit = st.integers(1, 5_000)
clamps = st.builds(Clamp, max_tokens=st.none() | limit, n=st.none() | st.integers(1, 4))
bounds = st.builds(
    Bounds, context=st.just(0) | limit, max_output=st.just(0) | limit, reasoning_beside=st.sampled_from([0, 100])
)
prices = st.builds(
    Price, st.just("v"), st.just("USD"), rate, rate, cached=st.none() | rate, reasoning=st.none() | rate, request=rate
)


@given(bounds, clamps, st.none() | prices, st.integers(2, 10_000), st.none() | limit, st.integers(1, 8))
def test_a_lane_and_the_long_way_agree(
    bound: Bounds, clamp: Clamp, price: Price | None, size: int, asked: int | None, answers: int
) -> None:
    lane = Lane(bound, clamp, price, rates_of(price) if price is not None else None)
    held = lane.hold(size, asked or 0, answers)
    long = reserve(Ask(size, asked, (("max_tokens", asked),) if asked else (), answers), "chat", bound, clamp, price)
    assert (held is None) == bool(long.patches)
    if held is None:
        return
    assert (held.prompt_most, held.answer_most, held.nano) == (long.prompt_most, long.answer_most, nano_of(long.pico))
    again = held.reservation
    assert (again.prompt_most, again.answer_most, again.images) == (long.prompt_most, long.answer_most, 0)
    assert again.pico == long.pico


def test_what_was_found_for_one_day_is_not_told_on_another() -> None:
    midnight = 20_000 * DAY
    days = Days()
    days.put("price", "old", midnight - 1)
    assert days.get("price", midnight - 2) == "old"
    assert days.get("price", midnight) is None
    days.put("price", "old", midnight - 1)  # of a request that began before midnight
    assert days.get("price", midnight) is None
