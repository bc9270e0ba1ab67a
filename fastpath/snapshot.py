"""What the data plane decides by: one immutable, numbered view compiled from settings.

Compiled whole before it replaces the old one; a running request keeps the one it was admitted under. Nothing here is
written after construction except the live counters, which belong to the endpoint table.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from _native.arena import Arena
from backends.base import Backend, Deadlines, EndpointSpec
from fastpath.account.tariff import Accounts, Tariff, offers_of
from fastpath.guard.classes import Classes
from fastpath.guard.label import bits_of
from fastpath.identity.keys import Key, KeyTable
from fastpath.money.catalog import Catalog, Offers
from fastpath.policy.rulebook import Rulebook, compile_rulebook
from fastpath.route.extensions import Extensions, load_extensions
from fastpath.route.groups import Lineup
from fastpath.route.heard import Heard
from fastpath.route.wire import spoken_paths, spoken_spec
from fastpath.settings import DataClass, Endpoint, Model, Settings, Timeouts
from scheduler.endpoint import EndpointTable
from scheduler.health import Vitals
from scheduler.picker import PICKERS, Picker

if TYPE_CHECKING:
    from fastpath.identity.callers import Callers
    from fastpath.limits.desk import Desk

ANY_MODEL = "*"


class Target:
    """One endpoint of one model: where an attempt goes. `paths` are the API paths it serves, None for all.

    offers: what its provider asks, None where nobody says who that is. refuses_usage is learnt: the server rejects
    `stream_options`, so its usage is estimated. heard: what its answers tell of it.
    """

    vitals: Vitals  # set before the snapshot is used: `fastpath.route.vitals`

    def __init__(
        self,
        spec: EndpointSpec,
        slot: int,
        backend: Backend,
        heard: Heard,
        paths: frozenset[str] | None = None,
        offers: Offers | None = None,
    ) -> None:
        self.spec = spec
        self.slot = slot
        self.backend = backend
        self.heard = heard
        self.paths = paths
        self.offers = offers
        self.name = spec.name
        self.tier = spec.tier
        self.model = spec.model
        self.refuses_usage = "stream_options" in spec.lacks


class Route:
    """A model name, its replicas and its tariff (None: it costs nothing that is known, and clamps nothing).

    keyed: its picker looks at whose request it is. chain: names of the models that answer in its place when nobody of
    its own is left. data_class: that its data has at least. reach: bits of its replicas' tiers.
    lineup: None where the replicas are all alike and take every request, so that there is nothing to score.
    """

    def __init__(
        self,
        name: str,
        targets: tuple[Target, ...],
        picker: Picker,
        timeouts: Timeouts,
        tariff: Tariff | None = None,
        chain: tuple[str, ...] = (),
        *,
        keyed: bool = False,
        data_class: DataClass | None = None,
        lineup: Lineup | None = None,
    ) -> None:
        self.name = name
        self.chain = chain
        self.tariff = tariff
        self.lineup = lineup
        self.targets = targets
        self.picker = picker
        self.keyed = keyed
        self.timeouts = timeouts
        self.data_class: DataClass | None = data_class
        self.reach = bits_of(target.tier for target in targets)
        self._restricted = any(target.paths is not None for target in targets)

    def serving(self, path: str) -> tuple[Target, ...]:
        """The replicas that serve this API path."""
        if not self._restricted:
            return self.targets
        return tuple([target for target in self.targets if target.paths is None or path in target.paths])


class Snapshot:
    """version grows by one with each reload; routes by model name; keys None when callers need none."""

    def __init__(
        self,
        version: int,
        settings: Settings,
        routes: dict[str, Route],
        keys: KeyTable | None,
        created: int,
        specs: frozenset[EndpointSpec],
        accounts: Accounts,
        desk: "Desk | None" = None,
        rulebook: Rulebook | None = None,
        tokens: "Callers | None" = None,
    ) -> None:
        self.version = version
        self.settings = settings
        self.routes = routes
        self.keys = keys
        self.created = created
        self.specs = specs
        self.accounts = accounts
        self.desk = desk  # None: nothing is limited
        self.rulebook = rulebook  # None: nothing is ruled
        self.tokens = tokens  # None: no issuer of tokens is believed
        self.classes = Classes(settings)
        self.json_body = settings.limits.json_body
        self.upload_body = settings.limits.upload_body
        self.response_body = settings.limits.response_body
        self.frame = settings.limits.frame
        self.client_body = settings.timeouts.client_body

    def route(self, model: str) -> Route | None:
        """The route of a model's name, or the wildcard's."""
        return self.routes.get(model) or self.routes.get(ANY_MODEL)

    def visible(self, key: Key | None) -> list[str]:
        """Names of the models that the key may use; the wildcard is not a name."""
        return [name for name in self.routes if name != ANY_MODEL and may_use(key, name)]


def may_use(key: Key | None, model: str) -> bool:
    """Whether the key's scope covers the model; without keys everything is open."""
    if key is None:
        return True
    models = key.models
    return ANY_MODEL in models or model in models


def compile_snapshot(
    settings: Settings,
    version: int,
    table: EndpointTable,
    backend_for: Callable[[EndpointSpec], Backend],
    keys: KeyTable | None,
    created: int,
    catalog: Catalog,
    desk: "Desk | None",
    running: Snapshot | None = None,
    tokens: "Callers | None" = None,
    *,
    arena: Arena,
    same_models: bool = False,
) -> Snapshot:
    """Settings -> Snapshot. `backend_for` returns the running backend of an unchanged spec. running: the one in use.
    same_models: its routes stay, so that other callers alone cost no more where there are more models. Raises
    UnknownExtension for a scorer, filter or picker that is not installed."""
    rulebook = compile_rulebook(settings, running.rulebook if running is not None else None)
    if running is not None and same_models:
        routes, created, specs = running.routes, running.created, running.specs
        return Snapshot(version, settings, routes, keys, created, specs, Accounts(settings), desk, rulebook, tokens)
    making = _Making(settings, table, backend_for, catalog, arena, created, load_extensions(settings.routing))
    routes = {model.name: _route(model, making) for model in settings.models}
    specs = frozenset(target.spec for route in routes.values() for target in route.targets)
    table.retain(specs)
    return Snapshot(version, settings, routes, keys, created, specs, Accounts(settings), desk, rulebook, tokens)


class _Making(NamedTuple):
    """What every route of a snapshot is made with."""

    settings: Settings
    table: EndpointTable
    backend_for: Callable[[EndpointSpec], Backend]
    catalog: Catalog
    arena: Arena
    created: int
    extensions: Extensions | None


def _route(model: Model, making: _Making) -> Route:
    timeouts = model.timeouts or making.settings.timeouts
    targets = tuple(_target(model, endpoint, timeouts, making) for endpoint in model.endpoints)
    routing, catalog = making.settings.routing, making.catalog
    lineup = Lineup(model, targets, making.table, routing, catalog, making.extensions)
    return Route(
        model.name,
        targets,
        PICKERS[model.picker],
        timeouts,
        Tariff.of(model, catalog),
        (*model.fallbacks, *model.substitutes),
        keyed=model.picker == "consistent_hash",
        data_class=model.data_class,
        lineup=None if lineup.simple else lineup,
    )


def _target(model: Model, endpoint: Endpoint, timeouts: Timeouts, making: _Making) -> Target:
    connect = timeouts.connect if timeouts.connect is not None else (3.0 if endpoint.tier == "L2" else 1.0)
    spec = EndpointSpec(
        name=endpoint.label,
        url=endpoint.url,
        model=endpoint.model,
        api_key=endpoint.api_key.reveal() if endpoint.api_key is not None else None,
        tier=endpoint.tier,
        weight=endpoint.weight,
        max_connections=endpoint.max_connections,
        ca_file=endpoint.ca_file,
        deadlines=Deadlines(connect, timeouts.first_byte, timeouts.idle, timeouts.total, timeouts.pool_idle),
        region=endpoint.region,
        networks=making.settings.local_networks if endpoint.tier in ("L0", "L1") else None,
    )
    table, catalog = making.table, making.catalog
    spec, paths = spoken_spec(spec, endpoint, model.name, catalog, making.created), spoken_paths(endpoint)
    slot = table.slot(spec, endpoint.weight)
    table.expect(slot, _identity(spec), endpoint.throughput, endpoint.ttft)
    heard = Heard(table.load, slot, making.arena, model.name, endpoint.label)
    return Target(spec, slot, making.backend_for(spec), heard, paths, offers_of(endpoint, catalog))


def _identity(spec: EndpointSpec) -> int:
    """64 bits that name the endpoint the same in every worker and after every restart."""
    return int.from_bytes(blake2b(f"{spec.name}\0{spec.url}".encode(), digest_size=8).digest(), "big")
