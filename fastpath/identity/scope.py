"""What a key or a token may be used for besides its models: API paths, networks, a ceiling of the data class, and
until when.

Owns the judgement and the class of a request. Does not own models (`snapshot.may_use`), the tables that keys stand in
(`keys`) or whom a token stands for (`callers`). Terms never change after they are made.
"""

import ipaddress
from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING

from fastpath import errors
from fastpath.errors import GatewayError
from fastpath.identity.client import Network, parse_address
from fastpath.settings import DataClass, Issuer, Key
from fastpath.settings.syntax import seconds_of
from fastpath.settings.tenancy import TokenScope

if TYPE_CHECKING:
    from fastpath.context import RequestContext

DATA_CLASS = b"x-fastpath-data-class"
_CLASSES: dict[bytes, DataClass] = {b"P0": "P0", b"P1": "P1", b"P2": "P2"}


class Terms:
    """What limits one caller: whatever limits it is asked. ends: Unix seconds; data_class: the most sensitive one that
    may be sent (None: any); paths and networks: one set for each that names some."""

    __slots__ = ("data_class", "ends", "networks", "paths")

    def __init__(self, limits: Iterable[Key | Issuer | TokenScope], ends: float) -> None:
        limits = tuple(limits)
        self.ends = ends
        classes: list[DataClass] = [one.data_class for one in limits if one.data_class]
        self.data_class: DataClass | None = max(classes, default=None)
        self.paths = tuple(frozenset(one.paths) for one in limits if one.paths is not None)
        self.networks: tuple[tuple[Network, ...], ...] = tuple(
            tuple(ipaddress.ip_network(network, strict=False) for network in one.networks)
            for one in limits
            if one.networks is not None
        )

    def objection(self, path: str, client: str) -> GatewayError | None:
        """Why a request to this path (a template) from this address is refused; None when it is not."""
        for paths in self.paths:
            if path not in paths and path.removesuffix("/{id}") not in paths:
                return errors.forbidden(f"You may not use {path}. Ask the operator of this gateway to allow it.")
        if self.networks and not self._covers(client):
            return errors.forbidden("You may not call from this address. Ask the operator of this gateway.")
        return None

    def excludes(self, data_class: str | None) -> bool:
        """Whether this class is more sensitive than what may be sent."""
        return data_class is not None and self.data_class is not None and data_class < self.data_class

    def _covers(self, client: str) -> bool:
        address = parse_address(client)
        if address is None:
            return False
        return all(
            any(address.version == block.version and address in block for block in networks)
            for networks in self.networks
        )


def terms_of(key: Key, ends: float = inf) -> Terms | None:
    """The terms of a key, None when only its models limit it. ends: when its row does, besides its `expires`."""
    if key.expires is not None:
        ends = min(ends, seconds_of(key.expires))
    if ends == inf and key.paths is None and key.networks is None and key.data_class is None:
        return None
    return Terms((key,), ends)


def enforce(ctx: "RequestContext", terms: Terms) -> None:
    """Holds a request to them. Raises 403."""
    assert ctx.path is not None
    error = terms.objection(ctx.path.template, ctx.record.client)
    if error is not None:
        raise error
    ctx.ends = terms.ends


def classify(ctx: "RequestContext", terms: Terms | None) -> None:
    """Notes the data class of a request: what it says, else its key's. Raises 400, or 403 for one above the ceiling."""
    stated = _stated_class(ctx)
    if stated is not None and terms is not None and terms.excludes(stated):
        raise above_ceiling(stated)
    ctx.record.data_class = stated or (terms.data_class if terms is not None else None)


def above_ceiling(stated: str) -> GatewayError:
    """403 for data that a key may not send."""
    return errors.forbidden(f"You may not send data of class {stated}. Use a key that may, or send other data.")


def _stated_class(ctx: "RequestContext") -> DataClass | None:
    """The most sensitive class that the request says, in one header or several."""
    exchange = ctx.exchange
    if DATA_CLASS not in exchange.fields:
        return None
    values = exchange.values(DATA_CLASS) if exchange.repeated else [exchange.fields[DATA_CLASS]]
    if any(value not in _CLASSES for value in values):
        raise errors.invalid_request("x-fastpath-data-class must be P0, P1 or P2.", "x-fastpath-data-class")
    return _CLASSES[min(values)]
