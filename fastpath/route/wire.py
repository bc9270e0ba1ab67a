"""How an endpoint is spoken to: its settings made into the facts that a backend needs.

Owns what a dialect adds to an endpoint: the paths that can be asked of it, where its key goes, how long its answers may
be where the request must say so. Does not own connections or translations (`backends`). Pure.
"""

from dataclasses import replace
from typing import Final
from urllib.parse import quote

from backends.base import EndpointSpec
from backends.dialects.spoken import find_dialect
from fastpath.account.tariff import offers_of
from fastpath.money.catalog import Catalog
from fastpath.settings import Endpoint
from fastpath.settings.preset import shipped_presets

#: What Azure serves below a deployment, and by its v1 API.
AZURE_DEPLOYMENT_PATHS: Final = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
    }
)
AZURE_PATHS: Final = AZURE_DEPLOYMENT_PATHS | {"/v1/responses"}


def spoken_spec(spec: EndpointSpec, endpoint: Endpoint, model: str, catalog: Catalog, at: float) -> EndpointSpec:
    """`spec` with what its endpoint's dialect asks for. model: the name that callers use; at: Unix seconds."""
    if endpoint.dialect == "azure":
        return _azure_spec(spec, endpoint)
    known = shipped_presets().get(endpoint.preset) if endpoint.preset is not None else None
    if known is not None and known.lacks:
        spec = replace(spec, lacks=frozenset(known.lacks))
    dialect = find_dialect(endpoint.dialect)
    if dialect is None:
        return spec
    most = _most_output(endpoint, model, catalog, at)
    return replace(spec, dialect=dialect.name, auth=dialect.auth, max_output=most)


def spoken_paths(endpoint: Endpoint) -> frozenset[str] | None:
    """The API paths that can be asked of an endpoint, None for all."""
    paths, dialect = frozenset(endpoint.paths) if endpoint.paths else None, find_dialect(endpoint.dialect)
    if dialect is not None:
        spoken = dialect.paths | dialect.native
    elif endpoint.dialect == "azure":
        spoken = AZURE_PATHS if endpoint.api_version is None else AZURE_DEPLOYMENT_PATHS
    else:
        return paths
    return spoken if paths is None else paths & spoken


def _azure_spec(spec: EndpointSpec, endpoint: Endpoint) -> EndpointSpec:
    """Azure's key field; for its API by deployments their place in the path, and the version."""
    spec = replace(spec, dialect="azure", auth="api-key")
    if endpoint.api_version is None:
        return spec
    url = f"{spec.url.rstrip('/')}/openai/deployments/{quote(endpoint.model or '', safe='')}"
    return replace(spec, url=url, query=f"?api-version={quote(endpoint.api_version, safe='')}")


def _most_output(endpoint: Endpoint, model: str, catalog: Catalog, at: float) -> int:
    """Most tokens of an answer of its model, by the price list. 0: no row names it."""
    offers = offers_of(endpoint, catalog)
    offer = offers.find(endpoint.model or model, at) if offers is not None else None
    return offer.max_output if offer is not None else 0
