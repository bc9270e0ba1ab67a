"""Where bytes go, as the egress gate is told. Pure data."""

from typing import Protocol

import msgspec


class Place(Protocol):
    """Where bytes go, by the admin's word. An `EndpointSpec` is one."""

    @property
    def name(self) -> str: ...
    @property
    def tier(self) -> str: ...
    @property
    def region(self) -> str | None: ...


class Destination(msgspec.Struct, frozen=True):
    """A place that is no endpoint. name: for reports, no URL."""

    name: str
    tier: str
    region: str | None = None


class Masked(Protocol):
    """What a masking stage will hand over with P1 data: the word that no personal data is left in these bytes.

    No stage makes one yet, so no P1 data goes to L2.
    """

    @property
    def masked_class(self) -> str: ...
