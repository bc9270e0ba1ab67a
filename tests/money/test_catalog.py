"""Which price a model of a provider has today: the operator's list over the shipped one, and nothing is guessed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fastpath.account.preflight import check_prices
from fastpath.money.catalog import MOST_KEPT, open_catalog, provider_of
from fastpath.money.table import PriceError
from fastpath.settings import Endpoint, Key, Model, Settings, Tenant
from fastpath.settings.problem import SettingsError
from fastpath.settings.tenancy import Budget, ModelPrice

OWN = """
providers:
  - provider: openai
    currency: EUR
    source: a contract
    read: 2026-01-01
    prices:
      - {model: gpt-4o, from: 2026-01-01, input: 2, output: 8, context: 1000, max_output: 100}
      - {model: gpt-4o, from: 2026-02-01, input: 1, output: 4}
rates:
  - {from: EUR, to: CNY, date: 2026-01-01, rate: 8.2}
"""


def at(*day: int) -> float:
    return datetime(*day, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]  # year, month, day


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.yaml").write_text(OWN)
    return str(tmp_path / "own.yaml")


def test_rows_of_ones_own_replace_the_shipped_ones_model_by_model(own: str) -> None:
    offers = open_catalog(own).offers("openai")
    january, february = offers.find("gpt-4o", at(2026, 1, 31)), offers.find("gpt-4o", at(2026, 2, 1))
    assert january is not None
    assert february is not None
    assert (january.price.input, january.context, january.max_output) == (2_000_000, 1_000, 100)
    assert (february.price.input, february.context) == (1_000_000, 0)
    assert offers.find("gpt-4o", at(2025, 12, 31)) is None
    shipped = offers.find("gpt-4o-mini", at(2026, 1, 1))
    assert shipped is not None
    assert shipped.price.currency == "USD"


def test_names_that_callers_choose_do_not_pile_up(own: str) -> None:
    offers = open_catalog(own).offers("openai")
    for number in range(MOST_KEPT + 5):
        assert offers.find(f"model-{number}", at(2026, 1, 1)) is None
    assert len(offers._found) <= MOST_KEPT


def test_a_list_that_did_not_change_is_not_read_again(own: str) -> None:
    first = open_catalog(own)
    assert open_catalog(own, first) is first
    Path(own).write_text(OWN.replace("8.2", "8.3"))
    second = open_catalog(own, first)
    assert second is not first
    assert open_catalog(None, second) is not second


@pytest.mark.parametrize(
    ("data", "reason"),
    [(None, "cannot be read"), (b"\n\xff", "own.yaml:2: is not UTF-8"), (b"x" * (5 << 20), "larger than 4 MiB")],
)
def test_a_file_that_is_no_list_says_so(own: str, data: bytes | None, reason: str) -> None:
    if data is None:
        Path(own).unlink()
    else:
        Path(own).write_bytes(data)
    with pytest.raises(PriceError, match=reason):
        open_catalog(own)


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://API.Anthropic.com:443/v1", "anthropic"),
        ("https://api.openai.com.evil.example/v1", None),
        ("https://eu.api.openai.com/v1", None),
        ("http://127.0.0.1:9001/v1", None),
        ("http://[::1]/v1", None),
    ],
)
def test_a_provider_is_known_by_the_host_of_its_public_api(url: str, provider: str | None) -> None:
    assert provider_of(url) == provider


# -- before a gateway starts


def settings(own: str | None, **more: object) -> Settings:
    endpoint = Endpoint(url="http://127.0.0.1:1/v1", provider="openai", model="gpt-4o")
    model = Model(name="m", endpoints=(endpoint,), price=more.pop("price", None))  # type: ignore[arg-type]  # a ModelPrice
    return Settings(models=(model,), prices=own, **more)  # type: ignore[arg-type]  # fields of Settings


def test_every_currency_that_a_tenant_is_billed_in_needs_a_rate_from_every_price(own: str) -> None:
    now = at(2026, 3, 1)
    check_prices(settings(own, tenants=(Tenant(name="a", currency="CNY"), Tenant(name="b", currency="EUR"))), now)
    with pytest.raises(SettingsError) as caught:
        check_prices(settings(own, tenants=(Tenant(name="a", currency="CNY"), Tenant(name="b", currency="JPY"))), now)
    assert [problem.path for problem in caught.value.problems] == ["tenants[1].currency"]
    assert "no rate from EUR to JPY is known on 2026-03-01" in str(caught.value)
    with pytest.raises(SettingsError, match="no rate from EUR to CNY is known on 2025-12-31"):
        check_prices(
            settings(own, tenants=(Tenant(name="a", currency="CNY"),), price=ModelPrice(currency="EUR", input=1)),
            at(2025, 12, 31),
        )


def test_a_key_of_no_tenant_spends_dollars_if_it_has_a_budget_of_money(own: str) -> None:
    hash = "b2:00000000:" + "0" * 64
    check_prices(settings(own, keys=(Key(name="k", hash=hash),)), at(2026, 3, 1))
    with pytest.raises(SettingsError, match="no rate from EUR to USD"):
        check_prices(settings(own, keys=(Key(name="k", hash=hash, budgets=(Budget(amount=1),)),)), at(2026, 3, 1))


def test_a_list_with_a_mistake_stops_the_start(own: str) -> None:
    Path(own).write_text(OWN.replace("input: 2", "input: two"))
    with pytest.raises(SettingsError, match=r"own\.yaml:8"):
        check_prices(settings(own), 0.0)
