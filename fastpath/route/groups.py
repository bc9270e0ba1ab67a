"""The endpoints of one model as a line-up: their facts in arrays, which of them are of one kind, who is left for whom.

Endpoints that score alike are replicas of one kind: the score chooses the kind, the model's picker the replica. Owns
what is remembered between requests: prices of the day, and the views that static filters leave. Does not own the
decision (`_native.score`) or what a request wants (`wanted`). One worker's loop.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from _native import score
from _native.score import Live, Pool, View
from fastpath.account.tariff import DAY
from fastpath.money.catalog import Catalog
from fastpath.money.currency import CurrencyError
from fastpath.policy.question import TIERS as TIER_BITS
from fastpath.route.plans import adds_scorers, strategy_of
from fastpath.settings import Endpoint, Model, Routing
from fastpath.settings.routing import SCENARIOS
from scheduler.endpoint import EndpointTable
from scheduler.money import Price
from scheduler.steps import CAPABILITIES, JSON_OBJECT, JSON_SCHEMA, TIERS

if TYPE_CHECKING:
    from _native.score import Plan
    from fastpath.context import RequestContext
    from fastpath.route.extensions import Extensions
    from fastpath.route.wanted import Wanted
    from fastpath.snapshot import Target
    from scheduler.strategies import Strategy

#: Views that are remembered: of kinds of requests, and of what retries left.
MOST_VIEWS = 256
#: A need up to this is taken by an endpoint of which nobody knows the context (as in `_native.score`).
ASSUMED_CONTEXT = 32_768
#: Fit in hundredths of an endpoint that is good at other languages, and of one that may not be able at all.
FOREIGN, SURE = 50, 100
UNKNOWN_PRICE = (-1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_PICO = 1e-12


class Shortlist:
    """Who is left for requests of one kind. turn: of equals among them. fits: hundredths, of every endpoint."""

    __slots__ = ("fits", "turn", "view")

    def __init__(self, view: View, fits: bytes) -> None:
        self.view = view
        self.fits = fits
        self.turn = 0


class Lineup:
    """The endpoints of one model, ready to be chosen from. `simple`: they are all alike and take every request."""

    def __init__(
        self,
        model: Model,
        targets: Sequence["Target"],
        table: EndpointTable,
        routing: Routing,
        catalog: Catalog,
        extensions: "Extensions | None",
    ) -> None:
        self.model = model
        self.targets = tuple(targets)
        self.endpoints = model.endpoints
        self.extensions = extensions if extensions is None or adds_scorers(model) else extensions.without_scorers()
        self.names = tuple([endpoint.label for endpoint in self.endpoints])
        self.tiers = tuple([TIERS.index(endpoint.tier) for endpoint in self.endpoints])
        self.answer = routing.answer
        self.strategy = strategy_of(model, routing)
        self.plan = self.strategy.plan()
        self.scenarios = _scenarios(model, routing) if routing.scenario_header else {}
        self.live = live_of(table)
        self._table = table
        self.asks_language = any(endpoint.languages is not None for endpoint in self.endpoints)
        self._catalog = catalog
        self._day = -1
        self._places = {target: place for place, target in enumerate(self.targets)}
        self.by_slot = {target.slot: target for target in self.targets}
        self._contexts = sorted({endpoint.context or ASSUMED_CONTEXT for endpoint in self.endpoints})
        self._lists: dict[object, Shortlist] = {}
        self._spares = frozenset(place for place, endpoint in enumerate(self.endpoints) if not endpoint.weight)
        kinds = kinds_of(self.endpoints, targets)
        self.kinds = len(set(kinds))
        self.facts = [
            _facts(target.slot, kind, endpoint)
            for target, kind, endpoint in zip(targets, kinds, self.endpoints, strict=True)
        ]
        self.pool = Pool([(*fact, *UNKNOWN_PRICE) for fact in self.facts])
        self.prices: list[tuple[float, ...]] = [UNKNOWN_PRICE] * len(self.facts)
        self.simple = self._is_simple(routing)

    def _is_simple(self, routing: Routing) -> bool:
        plain = all(endpoint.supports is None and endpoint.context is None for endpoint in self.endpoints)
        bounded = routing.cost_ceiling is not None or self.model.strategy == "pinned"
        return plain and self.kinds == 1 and not bounded and self.extensions is None

    def place(self, target: "Target") -> int:
        return self._places[target]

    def in_flight(self, place: int) -> int:
        """Attempts of this worker that run there."""
        return self._table.in_flight[self.targets[place].slot]

    def wait(self, place: int, now: float) -> float:
        """Seconds of prompts that wait there."""
        return self.live.waiting(self.targets[place].slot, now)

    def reprice(self, at: float) -> None:
        """Prices of the UTC day of `at` (Unix seconds)."""
        if int(at // DAY) == self._day:
            return
        self._day = int(at // DAY)
        for place, (target, endpoint) in enumerate(zip(self.targets, self.endpoints, strict=True)):
            self.prices[place] = self._price(target, endpoint, at)
            self.pool.reprice(place, self.prices[place])

    def shortlist(self, ctx: "RequestContext", left: tuple["Target", ...], wanted: "Wanted") -> Shortlist:
        """Who of `left` can serve the request, for all that does not change by the moment."""
        mask = bytes(len(self.targets))
        if len(left) != len(self.targets):
            away = bytearray(b"\1" * len(self.targets))
            for target in left:
                away[self._places[target]] = 0
            mask = bytes(away)
        room = bisect_left(self._contexts, wanted.ask.need)
        key = (mask, wanted.wants, room, wanted.language, ctx.tiers, ctx.label, ctx.record.attempts > 0)
        found = self._lists.get(key)
        if found is None:
            if len(self._lists) >= MOST_VIEWS:
                self._lists.clear()
            found = self._lists[key] = self._narrow(ctx, mask, wanted)
        return found

    def _narrow(self, ctx: "RequestContext", mask: bytes, wanted: "Wanted") -> Shortlist:
        codes = bytes([self._why_not(place, ctx) if away else self._pinned(place) for place, away in enumerate(mask)])
        fits = bytes([_fit(endpoint, wanted.language) for endpoint in self.endpoints])
        need = wanted.ask.need
        view = self.pool.narrow(self._without_spares(codes), wanted.wants, need, fits)
        if self._spares and not view.count:
            view = self.pool.narrow(codes, wanted.wants, need, fits)
        if not view.count and score.CONTEXT in view.dropped:  # an estimate: up to twice too much is not held against it
            forgiving = self.pool.narrow(codes, wanted.wants, need / 2, fits)
            view = forgiving if forgiving.count else view
        return Shortlist(view, fits)

    def _without_spares(self, codes: bytes) -> bytes:
        """Endpoints of weight 0 are for when nobody else is left."""
        if not self._spares:
            return codes
        return bytes([
            score.SPARE if code == score.KEPT and place in self._spares else code
            for place, code in enumerate(codes)
        ])  # fmt: skip

    def _why_not(self, place: int, ctx: "RequestContext") -> int:
        """Why an endpoint is not among those that may be tried."""
        target, path = self.targets[place], ctx.path
        if target.paths is not None and path is not None and path.template not in target.paths:
            return score.PATH
        if not TIER_BITS[target.tier] & ctx.tiers:
            return score.TIER
        label = ctx.label
        if label is not None and not label.admits(target.tier, target.spec.region):
            return score.TIER if not TIER_BITS[target.tier] & label.reach else score.REGION
        return score.TRIED if ctx.record.attempts else score.OUT  # what is left to take one away is health

    def _pinned(self, place: int) -> int:
        away = self.model.strategy == "pinned" and self.names[place] != self.model.pin
        return score.PINNED if away else score.KEPT

    def _price(self, target: "Target", endpoint: Endpoint, at: float) -> tuple[float, ...]:
        price = endpoint.price.as_price("") if endpoint.price is not None else None
        if price is None and target.offers is not None:
            offer = target.offers.find(target.model or self.model.name, at)
            price = offer.price if offer is not None else None
        return UNKNOWN_PRICE if price is None else self._in_dollars(price, at)

    def _in_dollars(self, price: Price, at: float) -> tuple[float, ...]:
        """As facts of the pool; unknown where nobody says what the currency is in dollars."""
        try:
            rate = self._catalog.rates.find(price.currency, "USD", at)
        except CurrencyError:
            return UNKNOWN_PRICE
        unit = _PICO * (rate.scaled * 1e-12 if rate is not None else 1.0)
        long, since = (price, 0) if price.long is None else (price.long, price.long_from)
        near = price.input * unit, price.output * unit, price.request * unit
        return *near, float(since), long.input * unit, long.output * unit


def live_of(table: EndpointTable) -> Live:
    """The columns that decisions read."""
    return Live(table.columns, table.load)


def kinds_of(endpoints: Sequence[Endpoint], targets: Sequence["Target"]) -> list[int]:
    """The number of each endpoint's kind: the same for endpoints that score alike whatever the request. Version and
    upstream name do not score, so that a new version behind a small weight gets its small share."""
    numbers: dict[object, int] = {}
    return [
        numbers.setdefault(_likeness(endpoint, target), len(numbers))
        for endpoint, target in zip(endpoints, targets, strict=True)
    ]


def _likeness(endpoint: Endpoint, target: "Target") -> object:
    supports = None if endpoint.supports is None else frozenset(endpoint.supports)
    languages = None if endpoint.languages is None else frozenset(endpoint.languages)
    listed = None if target.offers is None or endpoint.price is not None else (target.offers.provider, target.model)
    place = endpoint.tier, endpoint.region, endpoint.chip
    return place, endpoint.quality, endpoint.context, supports, languages, endpoint.price, listed, endpoint.ttft


def _facts(slot: int, kind: int, endpoint: Endpoint) -> tuple[float, ...]:
    """Of an endpoint, without its prices."""
    context = float(endpoint.context or 0)
    tier, supports = TIERS.index(endpoint.tier), supports_of(endpoint)
    return slot, kind, tier, supports, endpoint.quality, context, float(endpoint.max_connections)


def supports_of(endpoint: Endpoint) -> int:
    """Bits of what it declares, -1: nothing. Who can follow a schema can write any JSON."""
    if endpoint.supports is None:
        return -1
    bits = sum(1 << CAPABILITIES.index(name) for name in set(endpoint.supports))
    return bits | JSON_OBJECT if bits & JSON_SCHEMA else bits


def _fit(endpoint: Endpoint, language: str | None) -> int:
    if language is None or endpoint.languages is None:
        return SURE
    spoken = {name.partition("-")[0].lower() for name in endpoint.languages}
    return SURE if language in spoken else FOREIGN


def _scenarios(model: Model, routing: Routing) -> dict[bytes, tuple["Strategy", "Plan"]]:
    if model.strategy == "pinned":
        return {}
    made = {name.encode(): strategy_of(model, routing, name) for name in SCENARIOS}
    return {name: (strategy, strategy.plan()) for name, strategy in made.items()}
