"""What settings say of data classes and residency must be together: a class for every caller, places that exist.

As `rules`: each takes the plain values that were right and yields (path, sentence). Pure.
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from fastpath.settings import Settings
from fastpath.settings.findings import Finding, Values, items_of, suggest
from fastpath.settings.problem import Path

_LOCAL: Final = ("L0", "L1")


def find_class_conflicts(values: Values) -> Iterator[Finding]:
    """Callers whose data nobody classes though it matters, residency nowhere to be had, local endpoints elsewhere."""
    yield from _find_unclassed(values)
    yield from _find_unknown_regions(values)
    yield from _find_far_locals(values)


def _endpoints(values: Values) -> Iterator[tuple[Path, Values]]:
    for path, model in items_of(values, ("models",)):
        yield from items_of(model, (*path, "endpoints"))


def _find_unclassed(values: Values) -> Iterator[Finding]:
    tiers = {endpoint.get("tier", "L2") for _, endpoint in _endpoints(values)}
    if values.get("data_class") is not None or "L2" not in tiers or len(tiers) == 1:
        return
    who = next(_unclassed(values), None)
    if who is not None:
        message = (
            f"is missing: there are endpoints of your own (tier L0, L1) and in a cloud (L2), and of {who} nobody says "
            "what class of data it sends. Write `data_class: P0` to keep what nobody classes at home, or P2 where it "
            "may go anywhere; a tenant, key or model may say more (docs/explanation/data-classes.md)"
        )
        yield ("data_class",), message


def _unclassed(values: Values) -> Iterator[str]:
    """Callers without a class of their own."""
    shared = values.get("shared")
    if values.get("control") is not None or (isinstance(shared, dict) and shared.get("follow")):
        yield "a tenant of the admin API that has no default"
    if not values.get("keys") and not values.get("issuers"):
        yield "a caller"
    tenants = {tenant.get("name"): tenant for _, tenant in items_of(values, ("tenants",))}
    for _, key in items_of(values, ("keys",)):
        tenant = tenants.get(key.get("tenant"), {})
        if key.get("data_class") is None and tenant.get("data_class") is None:
            yield "a key"
    if values.get("issuers") and any(tenant.get("data_class") is None for tenant in tenants.values()):
        yield "the bearer of a token"


def _find_unknown_regions(values: Values) -> Iterator[Finding]:
    known = [region for _, endpoint in _endpoints(values) if isinstance(region := endpoint.get("region"), str)]
    for path, tenant in items_of(values, ("tenants",)):
        residency = tenant.get("residency")
        for i, region in enumerate((residency.get("regions") or ()) if isinstance(residency, dict) else ()):
            if isinstance(region, str) and region not in known:
                at = (*path, "residency", "regions", i)
                yield at, f"is the region of no endpoint: {suggest(region, known, 'an endpoint as its region')}"


def _find_far_locals(values: Values) -> Iterator[Finding]:
    """Endpoints of tier L0 and L1 that are written with an address which is not local."""
    networks = [ip_network(text) for text in values.get("local_networks") or Settings().local_networks]
    for path, endpoint in _endpoints(values):
        if endpoint.get("tier") not in _LOCAL or not isinstance(endpoint.get("url"), str):
            continue
        try:
            address = ip_address(urlsplit(endpoint["url"]).hostname or "")
        except ValueError:
            continue  # a name, which is looked at when a connection is opened
        if not any(address.version == block.version and address in block for block in networks):
            message = (
                "is in none of local_networks, so no connection would be opened: make it tier L2, or add its network "
                "to local_networks if it is yours"
            )
            yield (*path, "url"), message
