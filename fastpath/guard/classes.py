"""Who says what class data is of: the words of header, key, tenant, model and gateway, brought together once.

Owns the meaning of these words and the class of a request of which nobody says any. The strictest word counts; a tenant
without a word of its own has the gateway's. Compiled with a snapshot and immutable but for the labels that were met
before. One event loop.

    said (header, else the key's ceiling)  --+
    tenant's default, else the gateway's   --+--> strictest --> Label, with the tenant's residency
    the model's rule                       --+
    later: a scan of the content           --+     (`stage.raise_to`)
    nobody                                 -----> P2 where there are only clouds, else P0
"""

from collections.abc import Iterable
from typing import Final

from fastpath.guard.label import Label
from fastpath.settings import DataClass, Residency, Settings, Tenant

#: Combinations of words whose label is kept. There are few: a caller invents neither tenants nor classes.
KEPT: Final = 4096
Words = tuple[DataClass | None, str | None, DataClass | None]


class Classes:
    """Labels by what is said. assumed: the class of what nobody says."""

    def __init__(self, settings: Settings) -> None:
        self.common: DataClass | None = settings.data_class
        self.assumed: DataClass = assumed_class(
            endpoint.tier for model in settings.models for endpoint in model.endpoints
        )
        self._tenants = {
            tenant.name: tenant
            for tenant in settings.tenants
            if tenant.data_class is not None or tenant.residency is not None
        }
        self._plain: dict[str | None, Label] = {}
        self._kept: dict[Words, Label] = {}

    def label(self, said: DataClass | None, tenant: str | None, model: DataClass | None) -> Label:
        """The label of a request. said: by itself or its key; tenant: by name; model: the rule of the one it names."""
        if said is None and model is None:  # the common case: a look-up by a text whose hash is known
            found = self._plain.get(tenant)
            if found is not None:
                return found
        return self._keep(said, tenant, model)

    def of_tenant(self, name: str | None) -> DataClass | None:
        """The class that a tenant's requests have at least, by its own word."""
        tenant = self._tenants.get(name or "")
        return tenant.data_class if tenant is not None else None

    def residency(self, name: str | None) -> Residency | None:
        """Where a tenant's data may go."""
        tenant = self._tenants.get(name or "")
        return tenant.residency if tenant is not None else None

    def _keep(self, said: DataClass | None, tenant: str | None, model: DataClass | None) -> Label:
        """The label of words that are not the common ones, or were not met before."""
        words = (said, tenant, model)
        found = self._kept.get(words)
        if found is None:
            found = self._make(said, self._tenants.get(tenant or ""), model)
            if len(self._kept) >= KEPT:
                self._kept.clear()
                self._plain.clear()
            self._kept[words] = found
            if said is None and model is None:
                self._plain[tenant] = found
        return found

    def _make(self, said: DataClass | None, tenant: Tenant | None, model: DataClass | None) -> Label:
        default = self.common if tenant is None or tenant.data_class is None else tenant.data_class
        words: list[DataClass] = [word for word in (said, default, model) if word is not None]
        residency = tenant.residency if tenant is not None else None
        tiers = regions = None
        if residency is not None:
            tiers = frozenset(residency.tiers) if residency.tiers is not None else None
            regions = frozenset(residency.regions) if residency.regions is not None else None
        return Label(min(words) if words else self.assumed, tiers, regions, assumed=not words)


def assumed_class(tiers: Iterable[str]) -> DataClass:
    """What data is taken for when nobody says: P2 where all places are clouds, P0 otherwise."""
    found = set(tiers)
    return "P2" if found == {"L2"} else "P0"
