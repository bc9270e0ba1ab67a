"""What a key may be used for: models, API paths, networks, and the most sensitive data class.

Owns the arithmetic of scopes: a field that is None takes what the owner has, and what counts is the intersection along
tenant, team, user and key, so that no object can be wider than the one above it. Pure.
"""

import ipaddress
from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from controlplane.problem import invalid
from fastpath.settings.syntax import check_api_path, check_model_name, check_network

ANY = "*"

#: From the least to the most sensitive. P2 may go anywhere; P0 never leaves terminals and servers of one's own.
CLASSES = ("P2", "P1", "P0")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

Models = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...],
    Meta(min_length=1, max_length=1000, description='Names of models, or `["*"]` for all. null: as the owner has.'),
]
Paths = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...],
    Meta(min_length=1, max_length=100, description='API paths, or `["*"]` for all. null: as the owner has.'),
]
Networks = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...],
    Meta(min_length=1, max_length=100, description="CIDR blocks callers come from. null: as the owner has."),
]
DataClass = Annotated[
    Literal["P0", "P1", "P2"],
    Meta(description="Most sensitive class that may be sent: P2 is public, P0 the most sensitive. null: as the owner."),
]


class Scope(Struct, frozen=True):
    """What may be used. None in a field: whatever the owner may."""

    models: Models | None = None
    paths: Paths | None = None
    networks: Networks | None = None
    data_class: DataClass | None = None


FIELDS = Scope.__struct_fields__


class ScopeEdits(Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of a scope that a PATCH may send."""

    models: Models | UnsetType | None = UNSET
    paths: Paths | UnsetType | None = UNSET
    networks: Networks | UnsetType | None = UNSET
    data_class: DataClass | UnsetType | None = UNSET


def check_scope(scope: Scope) -> None:
    """Raises a 400 that names the field when a model's name, a path or a network is malformed."""
    for name in scope.models or ():
        _refuse("models", check_model_name(name))
    for path in scope.paths or ():
        _refuse("paths", None if path == ANY else check_api_path(path))
    for network in scope.networks or ():
        _refuse("networks", check_network(network))
    for field, listed in (("models", scope.models), ("paths", scope.paths)):
        if listed and ANY in listed and len(listed) > 1:
            _refuse(field, 'must be ["*"] alone, or names without *')


def _refuse(field: str, problem: str | None) -> None:
    if problem is not None:
        raise invalid(f"A value of `{field}` {problem}.", field)


def meet(upper: Scope, lower: Scope) -> Scope:
    """What remains when both must allow it. A field is None only when neither limits it."""
    return Scope(
        models=_meet_names(upper.models, lower.models),
        paths=_meet_names(upper.paths, lower.paths),
        networks=_meet_networks(upper.networks, lower.networks),
        data_class=_meet_classes(upper.data_class, lower.data_class),
    )


def meet_all(scopes: Iterable[Scope]) -> Scope:
    """What remains along a chain of owners."""
    remaining = Scope()
    for scope in scopes:
        remaining = meet(remaining, scope)
    return remaining


def exceeded(limit: Scope, wanted: Scope) -> str | None:
    """The first field in which `wanted` asks for more than `limit` allows; None when it fits."""
    if wanted.models is not None and not _names_fit(limit.models, wanted.models):
        return "models"
    if wanted.paths is not None and not _names_fit(limit.paths, wanted.paths):
        return "paths"
    if wanted.networks is not None and not _networks_fit(limit.networks, wanted.networks):
        return "networks"
    if wanted.data_class is not None and not _class_fits(limit.data_class, wanted.data_class):
        return "data_class"
    return None


def wildcard(scope: Scope) -> str | None:
    """The first field that asks for everything; None when all name what they want."""
    if ANY in (scope.models or ()):
        return "models"
    if ANY in (scope.paths or ()):
        return "paths"
    if any(ipaddress.ip_network(network).prefixlen == 0 for network in scope.networks or ()):
        return "networks"
    return None


def _meet_names(upper: tuple[str, ...] | None, lower: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if upper is None or ANY in upper:
        return lower if lower is not None else upper
    if lower is None or ANY in lower:
        return upper
    return tuple(name for name in lower if name in set(upper))


def _names_fit(limit: tuple[str, ...] | None, wanted: tuple[str, ...]) -> bool:
    return limit is None or ANY in limit or set(wanted) <= set(limit)


def _meet_networks(upper: tuple[str, ...] | None, lower: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if upper is None or lower is None:
        return lower if upper is None else upper
    pairs = [(_network(one), _network(other)) for one in upper for other in lower]
    smaller = [one if _within(one, other) else other for one, other in pairs if _overlap(one, other)]
    return tuple(dict.fromkeys(str(network) for network in smaller))


def _networks_fit(limit: tuple[str, ...] | None, wanted: tuple[str, ...]) -> bool:
    if limit is None:
        return True
    return all(any(_within(_network(text), _network(block)) for block in limit) for text in wanted)


def _meet_classes(upper: DataClass | None, lower: DataClass | None) -> DataClass | None:
    if upper is None or lower is None:
        return lower if upper is None else upper
    return upper if CLASSES.index(upper) < CLASSES.index(lower) else lower


def _class_fits(limit: str | None, wanted: str) -> bool:
    return limit is None or CLASSES.index(wanted) <= CLASSES.index(limit)


def _network(text: str) -> Network:
    return ipaddress.ip_network(text)


def _within(inner: Network, outer: Network) -> bool:
    """Whether every address of `inner` is one of `outer`."""
    return (
        inner.version == outer.version
        and int(inner.network_address) >= int(outer.network_address)
        and (int(inner.broadcast_address) <= int(outer.broadcast_address))
    )


def _overlap(one: Network, other: Network) -> bool:
    return _within(one, other) or _within(other, one)
