"""What a price list must be before a gateway is started with it: whole, and with every rate that bills will need.

Called by the supervisor and the CLI, which can name each mistake; a worker reads the list itself, and refuses single
requests that it cannot price. Pure, but for reading the file.
"""

from collections.abc import Iterator

from fastpath.account.tariff import list_price_of, offers_of
from fastpath.money.catalog import Catalog, open_catalog
from fastpath.money.currency import CurrencyError
from fastpath.money.table import PriceError
from fastpath.settings import Model, Settings
from fastpath.settings.problem import Problem, SettingsError


def check_prices(settings: Settings, now: float) -> None:
    """now: Unix seconds. Raises SettingsError with every mistake in the price list, or every rate that is missing."""
    try:
        catalog = open_catalog(settings.prices)
    except PriceError as error:
        raise SettingsError([Problem(0, 0, "", text) for text in error.problems], "prices") from error
    problems = [Problem(0, 0, *missing) for missing in _find_missing_rates(settings, catalog, now)]
    if problems:
        raise SettingsError(problems, "settings")


def _find_missing_rates(settings: Settings, catalog: Catalog, now: float) -> Iterator[tuple[str, str]]:
    asked = {currency for model in settings.models for currency in _currencies(model, catalog, now)}
    places = [(f"tenants[{number}].currency", tenant.currency) for number, tenant in enumerate(settings.tenants)]
    for number, key in enumerate(settings.keys):
        if key.tenant is None and any(budget.amount is not None for budget in key.budgets):
            places.append((f"keys[{number}].budgets", "USD"))
    for place, currency in places:
        for source in sorted(asked):
            try:
                catalog.rates.find(source, currency, now)
            except CurrencyError as error:
                yield place, f"{error}, under `rates` of the file that `prices` names"


def _currencies(model: Model, catalog: Catalog, now: float) -> Iterator[str]:
    """In which its callers may be charged, as far as that is known before anyone calls."""
    own = list_price_of(model)
    if own is not None:
        yield own.currency
        return
    for endpoint in model.endpoints:
        offers = offers_of(endpoint, catalog)
        offer = None if offers is None else offers.find(endpoint.model or model.name, now)
        if offer is not None:
            yield offer.price.currency
