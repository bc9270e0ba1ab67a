"""The price table: the shipped list, look-ups by day and name, and every mistake that a list can have."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fastpath.money.price import Billable, Price, pico_of
from fastpath.money.price_file import read_prices, read_shipped
from fastpath.money.row import PriceRow
from fastpath.money.table import PriceError, PriceTable

SHIPPED = read_shipped()
HEAD = "providers:\n- provider: p\n  currency: USD\n  source: a list\n  read: 2026-01-01\n  prices:\n"


def at(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def row(model: str, start: str, **more: Any) -> PriceRow:
    shared = {"provider": "p", "currency": "USD", "source": "a list", "read": "2026-01-01", "input": "1"}
    return msgspec.convert({**shared, "model": model, "from": start, **more}, PriceRow)


def read(rows: str) -> PriceTable:
    return read_prices(HEAD + rows, "list.yaml")[0]


def test_the_shipped_list_is_wide_and_says_where_it_is_from() -> None:
    assert len(SHIPPED.rows) >= 40
    providers = {row.provider for row in SHIPPED.rows}
    assert providers >= {"openai", "anthropic", "google", "deepseek", "alibaba", "moonshot", "zhipu", "mistral"}
    for row in SHIPPED.rows:
        assert "check before you bill" in row.source
        assert row.start <= row.read or row.start.year >= 2025


def test_every_shipped_row_is_found_by_its_name_on_its_first_day() -> None:
    for row in SHIPPED.rows:
        price = SHIPPED.find(row.provider, row.model, at(str(row.start)))
        assert price is not None
        assert price.version.startswith(f"{row.provider}/{row.model}@{row.start}#")


def test_shipped_prices_are_plausible() -> None:
    """A slip of three digits in the list would show here: tokens cost less than 100 units per million, caches less."""
    for row in SHIPPED.rows:
        price: Price | None = SHIPPED.find(row.provider, row.model, at(str(row.start)))
        while price is not None:
            assert 0 <= price.input <= 100_000_000
            assert price.input <= price.output or row.max_output == 0
            assert price.cached is None or price.cached <= price.input
            assert price.cache_write is None or price.input < price.cache_write <= (price.cache_write_long or 0)
            price = price.long


def test_versions_never_share_a_name() -> None:
    versions = {version(SHIPPED, row.provider, row.model, str(row.start)) for row in SHIPPED.rows}
    assert len(versions) == len(SHIPPED.rows)
    one, other = PriceTable([row("m", "2026-01-01")]), PriceTable([row("m", "2026-01-01", output="2")])
    assert version(one, "p", "m", "2026-01-01") != version(other, "p", "m", "2026-01-01")


def version(table: PriceTable, provider: str, model: str, day: str) -> str:
    price = table.find(provider, model, at(day))
    assert price is not None
    return price.version


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2025-12-31T23:59:59.999", None), ("2026-01-01", 1), ("2026-02-28T23:59:59.999", 1), ("2026-03-01", None),
        ("2026-04-01", 2), ("2026-06-01", 3), ("2030-01-01", 3),
    ],
)  # fmt: skip
def test_the_price_is_that_of_the_day(day: str, expected: int | None) -> None:
    table = PriceTable([
        row("m", "2026-06-01", input="3"),
        row("m", "2026-01-01", until="2026-03-01"),
        row("m", "2026-04-01", input="2"),
    ])  # fmt: skip
    price = table.find("p", "m", at(day))
    assert (price and price.input) == (expected and expected * 1_000_000)


def test_names_are_exact_or_end_in_a_date() -> None:
    table = PriceTable([
        row("m", "2026-01-01", names=["m-latest", "m-{date}"]), row("m-2026-05-05", "2026-01-01", input="9"),
    ])  # fmt: skip
    day = at("2026-07-01")
    for name in ("m", "m-latest", "m-2026-04-04", "m-20260404", "m-0404"):
        found = table.find("p", name, day)
        assert found is not None, name
        assert found.input == 1_000_000
    exact = table.find("p", "m-2026-05-05", day)
    assert exact is not None
    assert exact.input == 9_000_000
    for name in (
        "M",
        "m-",
        "m-mini",
        "m-mini-2026-04-04",
        "m-2026-04-04x",
        "xm-0404",
        "m-404",
        "m-latest-0404",
        "m-{date}",
        "",
    ):
        assert table.find("p", name, day) is None, name
    assert table.find("q", "m", day) is None


def test_a_list_of_ones_own_wins_model_by_model() -> None:
    base = PriceTable([row("a", "2026-01-01"), row("a", "2026-03-01"), row("b", "2026-01-01")])
    table = base.overlay([row("a", "2026-02-01", input="7"), row("c", "2026-02-01")])
    assert table.find("p", "a", at("2026-01-15")) is None
    assert [price and price.input for price in (table.find("p", name, at("2026-04-01")) for name in "abc")] == [
        7_000_000, 1_000_000, 1_000_000,
    ]  # fmt: skip
    assert len(base.rows) == 3


def test_the_bounds_of_a_model_come_with_its_row() -> None:
    found = SHIPPED.find_row("openai", "gpt-4o-2024-08-06", at("2025-10-01"))
    assert found is not None
    assert (found.context, found.max_output) == (128_000, 16_384)
    assert SHIPPED.find_row("openai", "gpt-4o", at("2020-01-01")) is None


def test_numbers_stay_as_they_are_written() -> None:
    numbers = "input: 0.1, output: 1.10, cached: 0.000001, image: 0.04, request: 0.000000000001"
    table = read(f"  - {{model: m, from: 2026-01-01, {numbers}}}")
    price = table.find("p", "m", at("2026-01-01"))
    assert price is not None
    assert (price.input, price.output, price.cached, price.image, price.request) == (
        100_000,
        1_100_000,
        1,
        40 * 10**9,
        1,
    )


def test_tiers_for_long_prompts() -> None:
    tiers = "[{over: 10, input: 3, output: 4}, {over: 20, input: 5}]"
    table = read(f"  - {{model: m, from: 2026-01-01, input: 1, output: 2, long: {tiers}}}")
    price = table.find("p", "m", at("2026-01-01"))
    assert price is not None
    assert price.long is not None
    assert price.long.long is not None
    assert (price.long_from, price.long.long_from, price.long.long.long) == (10, 20, None)
    assert (price.long.input, price.long.output, price.long.long.output) == (3_000_000, 4_000_000, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{model: m, from: 2026-01-01, input: 1e3}", "input must be a decimal number"),
        ("{model: m, from: 2026-01-01, input: -1}", "input must not be negative"),
        ("{model: m, from: 2026-01-01, input: 0.0000001}", "input has 7 decimals, and 6"),
        ("{model: m, from: 2026-01-01, image: 0.0000000000001}", "image has 13 decimals, and 12"),
        ("{model: m, from: 2026-01-01, input: 1000001}", "input is beyond any price"),
        ("{model: m, from: 2026-01-01, input: .nan}", "input must be a decimal number"),
        ("{model: m, from: 2026-01-01, output: 1}", "says no price"),
        ("{model: m, from: 2026-01-01, input: 1, until: 2026-01-01}", "until must be later"),
        ("{model: m, from: 2026-01-01, input: 1, currency: usd}", "'usd' is not a currency"),
        ("{model: m, from: 2026-01-01, input: 1, source: ' '}", "source must name"),
        ("{model: m, from: 2026-01-01, input: 1, context: -1}", "must not be negative"),
        ("{model: m m, from: 2026-01-01, input: 1}", "model must be letters"),
        ("{model: m, from: 2026-01-01, input: 1, names: ['{date}{date}']}", "{date} at most once"),
        ("{model: m, from: 2026-01-01, input: 1, names: ['m*']}", "must be a model's name"),
        ("{model: m, from: 2026-01-01, input: 1, long: [{over: 5, output: 1}]}", "long[0].input is missing"),
        (
            "{model: m, from: 2026-01-01, input: 1, long: [{over: 5, input: 1}, {over: 5, input: x}]}",
            "long[1].over must",
        ),
        ("{model: m, from: 2026-01-01, input: 1, long: [{over: 5, input: x}]}", "long[0].input must be a decimal"),
        ("{model: m, from: yesterday, input: 1}", "m: Invalid"),
        ("{model: m, from: 2026-01-01, inptu: 1}", "unknown field `inptu`"),
        ("{from: 2026-01-01, input: 1}", "a row without a model"),
        ("{model: m, model: n, from: 2026-01-01, input: 1}", "model is there twice"),
        ("[1]", "must be a mapping"),
    ],
)
def test_a_row_that_is_wrong_says_its_line_and_what_to_do(text: str, message: str) -> None:
    with pytest.raises(PriceError) as caught:
        read(f"  - {{model: good, from: 2026-01-01, input: 1}}\n  - {text}\n")
    assert caught.value.problems[0].startswith("list.yaml:8")
    assert message in caught.value.problems[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("a 2026-01-01", "a 2026-01-01"), "another row of this model from the same day"),
        (("a 2026-01-01 until: 2026-03-01", "a 2026-02-01"), "covers this day too, until 2026-03-01"),
        (("a 2026-01-01 names: [x]", "b 2026-01-01 names: [x]"), "'x' is another model's already"),
        (("a 2026-01-01 names: [b]", "b 2026-01-01"), "'b' is another model's already"),
        (("a 2026-01-01 names: ['x-{date}']", "b 2026-01-01 names: ['x-{date}']"), "another model's already"),
    ],
)
def test_rows_that_contradict_each_other(rows: tuple[str, ...], message: str) -> None:
    text = ""
    for each in rows:
        model, start, *more = each.split(" ", 2)
        text += f"  - {{model: {model}, from: {start}, input: 1{''.join(', ' + part for part in more)}}}\n"
    with pytest.raises(PriceError, match=message):
        read(text)


def test_every_mistake_is_shown_at_once() -> None:
    with pytest.raises(PriceError) as caught:
        read(
            "  - {model: a, from: 2026-01-01, input: x, output: -1}\n"
            "  - {model: b, from: 2026-01-01, input: 1.1111111}\n"
        )
    assert [problem.split(" ")[0] for problem in caught.value.problems] == ["list.yaml:7", "list.yaml:7", "list.yaml:8"]
    assert "list.yaml:8 (p/b from 2026-01-01)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("providers: [", "list.yaml:2: not valid YAML"),
        ("prices: []", "'prices' is not known here"),
        ("providers: 7", "must be a list"),
        ("providers: [7]", "must be a mapping"),
        ("[]", "must be a mapping of providers, rates"),
        ("rates: [{from: USD, to: CNY, date: 2026-11-20, rate: 0}]", "list.yaml:1: rate 1: must be above zero"),
        ("rates: [{from: USD, to: CNY, date: 20 Nov, rate: 7.1}]", "list.yaml:1: Invalid"),
        ("rates: [{from: USD, to: CNY}]", "missing required field"),
    ],
)
def test_files_that_are_no_lists(text: str, message: str) -> None:
    with pytest.raises(PriceError) as caught:
        read_prices(text, "list.yaml")
    assert message in str(caught.value)


def test_rates_stand_in_the_same_file() -> None:
    _, rates = read_prices("rates:\n- {from: USD, to: CNY, date: 2026-11-20, rate: 7.1068}\n", "list.yaml", SHIPPED)
    rate = rates.find("USD", "CNY", at("2026-11-21"))
    assert rate is not None
    assert rate.scaled == 7_106_800_000_000


def test_an_empty_file_changes_nothing() -> None:
    table, _ = read_prices("", "list.yaml", SHIPPED)
    assert table.rows == SHIPPED.rows


def test_free_is_a_price_and_unknown_is_none() -> None:
    free = SHIPPED.find("zhipu", "glm-4.5-flash", at("2025-10-01"))
    assert free is not None
    assert pico_of(free, Billable(5, output=5)) == 0
    assert SHIPPED.find("zhipu", "glm-9", at("2025-10-01")) is None
