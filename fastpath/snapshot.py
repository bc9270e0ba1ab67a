"""What the data plane decides by: one immutable, numbered view compiled from settings.

Compiled whole before it replaces the old one; a running request keeps the one it was admitted under. Nothing here is
written after construction except the live counters, which belong to the endpoint table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backends.base import Backend, Deadlines, EndpointSpec
from fastpath.identity.keys import Key, KeyTable
from fastpath.settings import Endpoint, Model, Settings, Timeouts
from scheduler.endpoint import EndpointTable
from scheduler.picker import PICKERS, Picker

ANY_MODEL = "*"


@dataclass(slots=True)
class Target:
    """One endpoint of one model: where an attempt goes. `paths` are the API paths it serves, None for all.

    refuses_usage is learnt: the server rejects `stream_options`, so its usage is estimated.
    """

    spec: EndpointSpec
    slot: int
    backend: Backend
    paths: frozenset[str] | None = None
    refuses_usage: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A model name and its replicas."""

    name: str
    targets: tuple[Target, ...]
    picker: Picker
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class Snapshot:
    """version grows by one with each reload; routes by model name; keys None when callers need none."""

    version: int
    settings: Settings
    routes: Mapping[str, Route]
    keys: KeyTable | None
    created: int = 0
    specs: frozenset[EndpointSpec] = field(default_factory=frozenset)

    def route(self, model: str) -> Route | None:
        return self.routes.get(model) or self.routes.get(ANY_MODEL)

    def visible(self, key: Key | None) -> list[str]:
        """Names of the models that the key may use; the wildcard is not a name."""
        return [name for name in self.routes if name != ANY_MODEL and may_use(key, name)]


def may_use(key: Key | None, model: str) -> bool:
    """Whether the key's scope covers the model; without keys everything is open."""
    return key is None or ANY_MODEL in key.models or model in key.models


def compile_snapshot(
    settings: Settings,
    version: int,
    table: EndpointTable,
    backend_for: Callable[[EndpointSpec], Backend],
    keys: KeyTable | None,
    created: int,
) -> Snapshot:
    """Settings -> Snapshot. `backend_for` returns the running backend of an unchanged spec."""
    routes = {model.name: _route(model, settings, table, backend_for) for model in settings.models}
    specs = frozenset(target.spec for route in routes.values() for target in route.targets)
    table.retain(specs)
    return Snapshot(version, settings, routes, keys, created, specs)


def _route(
    model: Model, settings: Settings, table: EndpointTable, backend_for: Callable[[EndpointSpec], Backend]
) -> Route:
    timeouts = model.timeouts or settings.timeouts
    targets = tuple(_target(endpoint, timeouts, table, backend_for) for endpoint in model.endpoints)
    return Route(model.name, targets, PICKERS[model.picker], timeouts)


def _target(
    endpoint: Endpoint, timeouts: Timeouts, table: EndpointTable, backend_for: Callable[[EndpointSpec], Backend]
) -> Target:
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
    )
    paths = frozenset(endpoint.paths) if endpoint.paths else None
    return Target(spec, table.slot(spec, endpoint.weight), backend_for(spec), paths)
