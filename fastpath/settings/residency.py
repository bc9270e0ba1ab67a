"""Where data of one tenant may go. Owns the Struct; `class_rules` compares it with the rest of the settings."""

from typing import Annotated

from msgspec import Meta, Struct

from fastpath.settings.kinds import Label, Tier


class Residency(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Tiers and regions that a tenant's requests may be sent to, whatever their class. It only takes away."""

    tiers: Annotated[
        Annotated[tuple[Tier, ...], Meta(min_length=1)] | None,
        Meta(description="Tiers of endpoints. None: all that the class of a request may go to."),
    ] = None
    regions: Annotated[
        Annotated[tuple[Label, ...], Meta(min_length=1)] | None,
        Meta(
            description="Regions of endpoints, by the name in their `region`. An endpoint of which nobody says a "
            "region is in none. None: all."
        ),
    ] = None
