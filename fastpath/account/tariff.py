"""By what the requests of one model are billed: whose price, which markup, whose currency.

Two prices stand side by side. What the endpoint's provider asks (`price`) is cost; what the caller is asked (`charge`)
is the model's own price, and the provider's where it has none. Where no list knows what a provider asks, the model's
own price is all that is known of cost as well. Owns that choice and its arithmetic; does not own the lists
(`fastpath.money.catalog`) or what is set aside (`hold`). Immutable, but for what offers remember. One event loop.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from _native.rates import Rates
from fastpath.money.amount import AmountError
from fastpath.money.catalog import Catalog, Offer, Offers, provider_of
from fastpath.money.currency import Rate, RateTable, charge_of
from fastpath.money.price import MOST_NANO, Billable, Price, answer_rates, nano_of, pico_of, prompt_rates
from fastpath.money.reserve import Bounds, Clamp
from fastpath.money.row import name_version
from fastpath.settings import Endpoint, Key, Model, ModelClamp, Settings

if TYPE_CHECKING:
    from fastpath.account.held import Lane
    from fastpath.endpoints.paths import ApiPath
    from fastpath.snapshot import Target

_DOLLARS = "USD"
DAY = 86_400
MOST_KEPT = 4_096


class Account(msgspec.Struct, frozen=True, eq=False):
    """How a caller is billed. currency "": in that of the price. markup_ppm None: as the model says."""

    currency: str = ""
    markup_ppm: int | None = None


class Accounts:
    """The account of every key of the settings. A key of no tenant is billed as prices are, unless it has budgets of
    money, which are in dollars."""

    def __init__(self, settings: Settings) -> None:
        self._tenants = {tenant.name: Account(tenant.currency, tenant.markup_ppm) for tenant in settings.tenants}
        self._nobody, self._spender = Account(), Account(_DOLLARS)

    def of(self, key: Key | None) -> Account:
        if key is None:
            return self._nobody
        tenant = key.tenant
        if tenant is not None:
            return self._tenants.get(tenant, self._nobody)
        return self._spender if _has_money(key) else self._nobody


def _has_money(key: Key) -> bool:
    return any(budget.amount is not None for budget in key.budgets)


class Terms:
    """By what one attempt is billed, pinned at its request's admission. None: no price is known.

    price: what the endpoint's provider asks; charge: what the caller is asked, before markup; currency: of the bill;
    rate: from the charge's currency to the bill's, None where they are the same; rates: the charge, marked up, ready to
    be multiplied, None where that takes more than four products; dollars: the same of the provider's, in dollars.
    """

    def __init__(
        self,
        price: Price | None = None,
        charge: Price | None = None,
        markup_ppm: int = 0,
        currency: str = "",
        rate: Rate | None = None,
    ) -> None:
        self.price = price
        self.charge = charge
        self.markup_ppm = markup_ppm
        self.currency = currency
        self.rate = rate
        self.rates = rates_of(charge, markup_ppm) if charge is not None and rate is None else None
        self.dollars = rates_of(price) if price is not None and price.currency == _DOLLARS else None

    def nano(self, pico: int) -> int:
        """What so much by `charge` is on the bill, at most what a ledger holds."""
        try:
            return charge_of(pico, self.markup_ppm, self.rate)
        except AmountError:
            return MOST_NANO

    def bill(self, usage: Billable) -> int | None:
        """What a usage is on the bill, in nano-units of `currency`."""
        return None if self.charge is None else self.nano(pico_of(self.charge, usage))

    def cost_in(self, currency: str, usage: Billable) -> int | None:
        """What the provider asks for a usage, where that is in this currency."""
        price = self.price
        return nano_of(pico_of(price, usage)) if price is not None and price.currency == currency else None


def rates_of(price: Price, markup_ppm: int = 0) -> Rates | None:
    """The first tier of a price, where all that is asked for beside it is sound and the long keeping of a prompt."""
    fresh, cached, write, _, _ = prompt_rates(price)
    output, reasoning, _ = answer_rates(price)
    try:
        return Rates(
            fresh,
            cached,
            output,
            reasoning,
            price.request,
            max(fresh, cached, write),
            max(output, reasoning),
            markup_ppm,
            price.long_from if price.long is not None else 0,
        )
    except (ValueError, OverflowError):  # a price or a markup beyond what a short way may assume
        return None


_NO_TERMS = Terms()


class Days:
    """What is remembered until the day (UTC) is over, when prices and rates may change."""

    def __init__(self) -> None:
        self._since = self._until = 0.0
        self._kept: dict[object, Any] = {}

    def get(self, key: object, at: float) -> Any:
        """What was put under the key on the day of `at` (Unix seconds), else None."""
        self._turn(at)
        return self._kept.get(key)

    def put(self, key: object, value: Any, at: float) -> None:
        """at: the moment that the value was found for."""
        self._turn(at)
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[key] = value

    def day(self, at: float) -> float:
        """When the day that is remembered began (Unix seconds), -1 where `at` is not of it."""
        return self._since if self._since <= at < self._until else -1.0

    def _turn(self, at: float) -> None:
        if not self._since <= at < self._until:
            self._since = at - at % DAY
            self._until = self._since + DAY
            self._kept.clear()


class Recent:
    """What was found last for one account: of one path and one endpoint, which are mostly the only ones."""

    def __init__(self) -> None:
        self.path: ApiPath | None = None
        self.path_name = ""
        self.path_day = 0.0
        self.lane: Lane | None = None
        self.target: Target | None = None
        self.target_name = ""
        self.target_day = 0.0
        self.terms = _NO_TERMS


class Tariff:
    """One model's. `clamp`: the most that may be asked; `refuses`: more is refused and not lowered."""

    def __init__(self, model: Model, catalog: Catalog) -> None:
        asked = model.clamp or ModelClamp()
        self.list_price = list_price_of(model)
        self.clamp = Clamp(asked.max_tokens, asked.n, asked.best_of, asked.logprobs)
        self.refuses = asked.mode == "refuse"
        self._limit_field = asked.limit_field if asked.limit_field != "max_tokens" else ""
        self._markup_ppm = model.markup_ppm
        self._rates: RateTable = catalog.rates
        self._terms: Days = Days()
        self.lanes: Days = Days()  # `hold` keeps what it finds here
        self._recent: dict[Account, Recent] = {}

    @staticmethod
    def of(model: Model, catalog: Catalog) -> "Tariff | None":
        """None: nothing that is known here makes the model cost or bounds what may be asked of it."""
        plain = model.price is None and model.clamp is None and all(map(_is_nobodys, model.endpoints))
        return None if plain else Tariff(model, catalog)

    def terms(self, target: "Target", name: str, account: Account, at: float) -> Terms:
        """name: the model's, as the caller knows it. Raises CurrencyError where the bill's currency has no rate."""
        recent = self._of(account)
        if recent.target is target and recent.target_name == name and recent.target_day == self._terms.day(at):
            return recent.terms
        key = (target, name, account)
        found: Terms | None = self._terms.get(key, at)
        if found is None:
            found = self._find(target, name, account, at)
            self._terms.put(key, found, at)
        recent.target, recent.target_name, recent.target_day, recent.terms = target, name, self._terms.day(at), found
        return found

    def lane(self, name: str, path: "ApiPath", account: Account, at: float) -> "Lane | None":
        """What `hold` keeps for such requests, None: nothing yet."""
        recent = self._of(account)
        if recent.path is path and recent.path_name == name and recent.path_day == self.lanes.day(at):
            return recent.lane
        found: Lane | None = self.lanes.get((name, path, account), at)
        if found is not None:
            recent.path, recent.path_name, recent.path_day, recent.lane = path, name, self.lanes.day(at), found
        return found

    def _of(self, account: Account) -> "Recent":
        recent = self._recent.get(account)
        if recent is None:
            if len(self._recent) >= MOST_KEPT:
                self._recent.clear()
            recent = self._recent[account] = Recent()
        return recent

    def _find(self, target: "Target", name: str, account: Account, at: float) -> Terms:
        offer = _offer(target, name, at)
        price = self.list_price if offer is None else offer.price
        charge = self.list_price or price
        if charge is None:
            return Terms()
        currency = account.currency or charge.currency
        markup = self._markup_ppm if account.markup_ppm is None else account.markup_ppm
        return Terms(price, charge, markup, currency, self._rates.find(charge.currency, currency, at))

    def bounds(self, targets: Sequence["Target"], name: str, at: float, api: str) -> Bounds:
        """What any of these endpoints can do at most; a bound that one of them leaves open is open."""
        offers = [_offer(target, name, at) for target in targets]
        known = [offer for offer in offers if offer is not None]
        whole = len(known) == len(offers) > 0
        return Bounds(
            context=_most([offer.context for offer in known]) if whole else 0,
            max_output=_most([offer.max_output for offer in known]) if whole else 0,
            limit_field=self._limit_field if api == "chat" else "",
        )


def list_price_of(model: Model) -> Price | None:
    """The model's own price, named by a digest of its numbers, so that no two prices ever share a version."""
    return None if model.price is None else name_version(model.price.as_price(""), f"settings/{model.name}")


def offers_of(endpoint: Endpoint, catalog: Catalog) -> Offers | None:
    """What the provider of an endpoint asks; None where nobody says who that is."""
    provider = endpoint.provider or provider_of(endpoint.url)
    return None if provider is None else catalog.offers(provider)


def _is_nobodys(endpoint: Endpoint) -> bool:
    return endpoint.provider is None and provider_of(endpoint.url) is None


def _offer(target: "Target", name: str, at: float) -> Offer | None:
    return None if target.offers is None else target.offers.find(target.model or name, at)


def _most(bounds: list[int]) -> int:
    return max(bounds) if all(bounds) else 0
