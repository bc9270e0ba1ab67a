"""What answers cost: golden cases to be checked by hand against the shipped list, and the arithmetic under them."""

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.money.amount import format_nano
from fastpath.money.currency import charge_of
from fastpath.money.price import Billable, Price, divide_half_even, nano_of, pico_of, price_for
from fastpath.money.price_file import read_shipped

TABLE = read_shipped()

OCTOBER = "2025-10-01"

# Provider, model as the caller names it, day, usage, cost in whole units. The comment is the sum, per million tokens.
GOLDEN = [
    ("openai", "gpt-4o", OCTOBER, Billable(1000, output=500), "0.0075"),  # 1000 x 2.50 + 500 x 10
    ("openai", "gpt-4o-2024-08-06", OCTOBER, Billable(500, 500, output=100), "0.002875"),  # + 500 x 1.25
    ("openai", "gpt-4o-2024-05-13", OCTOBER, Billable(1000, output=1000), "0.02"),  # 1000 x 5 + 1000 x 15
    ("openai", "gpt-4o-mini", OCTOBER, Billable(1, output=1), "0.00000075"),  # 0.15 + 0.60
    ("openai", "gpt-4o-mini", OCTOBER, Billable(0, 1), "0.000000075"),
    ("openai", "gpt-4.1-nano", OCTOBER, Billable(0, 1), "0.000000025"),
    ("openai", "gpt-5-nano", OCTOBER, Billable(0, 1), "0.000000005"),
    ("openai", "gpt-5", OCTOBER, Billable(1234, output=567), "0.0072125"),  # 1234 x 1.25 + 567 x 10
    ("openai", "gpt-5", OCTOBER, Billable(1000, 0, 0, 100, 900), "0.01125"),  # reasoning as output
    ("openai", "o3", "2025-06-09", Billable(1000, output=1000), "0.05"),  # 10 and 40, the day before the cut
    ("openai", "o3", "2025-06-10", Billable(1000, output=1000), "0.01"),  # 2 and 8, from that day
    ("openai", "o1-2024-12-17", OCTOBER, Billable(100, 0, 0, 200, 800), "0.0615"),  # 100 x 15 + 1000 x 60
    ("openai", "gpt-4o-audio-preview", OCTOBER, Billable(100, output=50, audio_input=200, audio_output=300), "0.03275"),
    ("openai", "text-embedding-3-small", OCTOBER, Billable(8000), "0.00016"),  # 8000 x 0.02
    # 10 x 15 + 2000 x 18.75 + 500 x 75, then 10 x 3 + 2000 x 0.30 + 500 x 15
    ("anthropic", "claude-opus-4-1", OCTOBER, Billable(10, 0, 2000, 500), "0.07515"),
    ("anthropic", "claude-sonnet-4-5", OCTOBER, Billable(10, 2000, 0, 500), "0.00813"),
    ("anthropic", "claude-sonnet-4-5", OCTOBER, Billable(cache_write_long=1000), "0.006"),  # 1000 x 6
    ("anthropic", "claude-sonnet-4-5", OCTOBER, Billable(200_000, output=1000), "0.615"),  # at the edge: 3 and 15
    ("anthropic", "claude-sonnet-4-5", OCTOBER, Billable(200_001, output=1000), "1.222506"),  # beyond it: 6 and 22.50
    ("anthropic", "claude-sonnet-4-5", OCTOBER, Billable(1, 200_000), "0.120006"),  # cached tokens count to it
    ("anthropic", "claude-3-haiku-20240307", OCTOBER, Billable(0, 7), "0.00000021"),
    ("anthropic", "claude-haiku-4-5-20251001", "2025-10-15", Billable(100, output=100), "0.0006"),
    ("google", "gemini-2.5-pro", OCTOBER, Billable(200_000, output=10), "0.2501"),  # 1.25 and 10
    ("google", "gemini-2.5-pro", OCTOBER, Billable(200_001, output=10), "0.5001525"),  # 2.50 and 15
    ("google", "gemini-2.5-flash", OCTOBER, Billable(1000, 0, 0, 100, 300, audio_input=1000), "0.0023"),
    ("google", "gemini-1.5-flash", OCTOBER, Billable(0, 1), "0.000000019"),  # 18.75 nano-units
    ("google", "gemini-1.5-flash", OCTOBER, Billable(0, 2), "0.000000038"),  # 37.5, a half, to the even 38
    ("google", "gemini-1.5-flash", OCTOBER, Billable(0, 6), "0.000000112"),  # 112.5, a half, to the even 112
    ("deepseek", "deepseek-chat", "2025-03-01", Billable(500, 1000, 0, 200), "0.000425"),  # 0.27, 0.07, 1.10
    ("deepseek", "deepseek-chat", "2025-09-10", Billable(500, 1000, 0, 200), "0.000686"),  # 0.56, 0.07, 1.68
    ("deepseek", "deepseek-chat", OCTOBER, Billable(500, 1000, 0, 200), "0.000252"),  # 0.28, 0.028, 0.42
    ("deepseek", "deepseek-reasoner", "2025-03-01", Billable(100, 0, 0, 50, 450), "0.00115"),  # 100 x 0.55 + 500 x 2.19
    ("alibaba", "qwen-max", OCTOBER, Billable(1000, output=1000), "0.012"),  # yuan: 2.4 and 9.6
    ("alibaba-intl", "qwen3-max", OCTOBER, Billable(32_000, output=100), "0.039"),  # 1.2 and 6
    ("alibaba-intl", "qwen3-max", OCTOBER, Billable(32_001, output=100), "0.0780024"),  # 2.4 and 12
    ("alibaba-intl", "qwen3-max", OCTOBER, Billable(128_001, output=100), "0.385503"),  # 3 and 15
    ("alibaba-intl", "qwen3-coder-plus", OCTOBER, Billable(1, 256_000, 0, 10), "0.154206"),  # 6, 0.6 and 60
    ("moonshot", "kimi-k2-0905-preview", OCTOBER, Billable(100, 900, 0, 100), "0.0029"),  # yuan: 4, 1 and 16
    ("moonshot", "moonshot-v1-8k", OCTOBER, Billable(500, output=500), "0.006"),  # yuan: 2 and 10
    ("zhipu", "glm-4.6", OCTOBER, Billable(1000, 1000, 0, 100), "0.00093"),  # 0.6, 0.11 and 2.2
    ("zhipu", "glm-4.5-flash", OCTOBER, Billable(1000, output=1000), "0"),
    ("mistral", "mistral-large-2411", OCTOBER, Billable(1000, output=1000), "0.008"),  # 2 and 6
    ("mistral", "ministral-3b-2410", OCTOBER, Billable(1, output=1), "0.00000008"),  # 0.04 and 0.04
    ("mistral", "mistral-embed", OCTOBER, Billable(1), "0.0000001"),
]  # fmt: skip

IMAGES = Price("images", "USD", image=40_000_000_000, request=1_000_000_000)  # 0.04 a picture, 0.001 a request


@pytest.mark.parametrize(("provider", "model", "day", "usage", "cost"), GOLDEN)
def test_golden_costs(provider: str, model: str, day: str, usage: Billable, cost: str) -> None:
    price = TABLE.find(provider, model, datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    assert price is not None
    assert format_nano(nano_of(pico_of(price, usage))) == cost
    assert charge_of(pico_of(price, usage)) == nano_of(pico_of(price, usage))


def test_pieces_have_prices_of_their_own() -> None:
    assert format_nano(nano_of(pico_of(IMAGES, Billable(images=3)))) == "0.121"
    assert format_nano(nano_of(pico_of(IMAGES, Billable()))) == "0.001"


def test_a_part_without_a_price_costs_what_its_whole_does() -> None:
    price = Price("plain", "USD", input=3, output=5)
    assert pico_of(price, Billable(1, 1, 1, 1, 1, 0, 1, 1, 1)) == 5 * 3 + 3 * 5
    write = Price("write", "USD", input=3, output=5, cache_write=7)
    assert pico_of(write, Billable(cache_write_long=2)) == 14
    free = Price("free", "USD", input=3, output=5, cached=0, reasoning=0)
    assert pico_of(free, Billable(cached=9, reasoning=9)) == 0


@pytest.mark.parametrize(
    ("pico", "markup", "nano"),
    [
        (499, 0, 0), (500, 0, 0), (501, 0, 1), (1499, 0, 1), (1500, 0, 2), (2500, 0, 2), (2501, 0, 3), (3500, 0, 4),
        (-500, 0, 0), (-1500, 0, -2), (-2500, 0, -2), (-2501, 0, -3),
        (1000, 500_000, 2),  # 1.5 nano-units: the half that the markup makes is rounded once, with it
        (1000, 250_000, 1), (999, 1_000, 1), (10**12, 200_000, 1_200_000_000), (10**6, -1_000_000, 0),
    ],
)  # fmt: skip
def test_one_rounding_half_to_even(pico: int, markup: int, nano: int) -> None:
    assert nano_of(pico, markup) == nano


@given(st.integers(-(10**40), 10**40), st.integers(1, 10**25))
def test_division_is_the_nearest_and_even_on_a_tie(number: int, divisor: int) -> None:
    assert divide_half_even(number, divisor) == round(Fraction(number, divisor))


RATES = st.integers(0, 10**12)
PARTS = st.one_of(st.none(), RATES)
USAGE = st.builds(Billable, *[st.integers(0, 10**8)] * len(Billable.__struct_fields__))
PRICES = st.builds(
    Price, st.just("v"), st.just("USD"), RATES, RATES, PARTS, PARTS, PARTS, RATES, RATES, PARTS, PARTS, PARTS
)


@given(PRICES, USAGE, USAGE)
def test_without_tiers_costs_add_up(price: Price, first: Billable, second: Billable) -> None:
    both = Billable(*(getattr(first, part) + getattr(second, part) for part in Billable.__struct_fields__))
    assert pico_of(price, both) + price.request == pico_of(price, first) + pico_of(price, second)


@given(st.integers(0, 60))
def test_a_prompt_is_billed_by_the_tier_that_it_is_in(prompt: int) -> None:
    top = Price("v", "USD", input=3)
    middle = Price("v", "USD", input=2, long_from=40, long=top)
    price = Price("v", "USD", input=1, long_from=20, long=middle)
    expected = 1 if prompt <= 20 else 2 if prompt <= 40 else 3
    assert price_for(price, prompt).input == expected
    assert pico_of(price, Billable(prompt)) == prompt * expected


def test_the_largest_amounts_stay_exact_and_fit_a_ledger() -> None:
    price = Price("dear", "USD", input=10**12, output=10**12)  # one unit a token
    pico = pico_of(price, Billable(10**8, output=10**8))
    assert nano_of(pico) == 2 * 10**17 < 2**62
