"""How an endpoint is spoken to: its settings made into the facts that a backend needs.

Owns what a dialect adds to an endpoint: the paths that can be asked of it, where its key goes, how long its answers may
be where the request must say so. Does not own connections or translations (`backends`). Pure.
"""

from dataclasses import replace

from backends.base import EndpointSpec
from backends.dialects.spoken import find_dialect
from fastpath.account.tariff import offers_of
from fastpath.money.catalog import Catalog
from fastpath.settings import Endpoint


def spoken_spec(spec: EndpointSpec, endpoint: Endpoint, model: str, catalog: Catalog, at: float) -> EndpointSpec:
    """`spec` with what its endpoint's dialect asks for. model: the name that callers use; at: Unix seconds."""
    dialect = find_dialect(endpoint.dialect)
    if dialect is None:
        return spec
    most = _most_output(endpoint, model, catalog, at)
    return replace(spec, dialect=dialect.name, auth=dialect.auth, max_output=most)


def spoken_paths(endpoint: Endpoint) -> frozenset[str] | None:
    """The API paths that can be asked of an endpoint, None for all."""
    paths, dialect = frozenset(endpoint.paths) if endpoint.paths else None, find_dialect(endpoint.dialect)
    if dialect is None:
        return paths
    spoken = dialect.paths | dialect.native
    return spoken if paths is None else paths & spoken


def _most_output(endpoint: Endpoint, model: str, catalog: Catalog, at: float) -> int:
    """Most tokens of an answer of its model, by the price list. 0: no row names it."""
    offers = offers_of(endpoint, catalog)
    offer = offers.find(endpoint.model or model, at) if offers is not None else None
    return offer.max_output if offer is not None else 0
