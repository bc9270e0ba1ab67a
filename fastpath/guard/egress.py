"""The gate: the last thing before bytes leave, on every attempt and for every room that talks to the outside.

Owns the judgement of one label against one destination, and what becomes of a breach. It trusts nothing that routing
worked out: it reads the class and the residency of the label and the tier and region of the destination, and has rules
of its own, so that a mistake in one of the two walls leaks nothing. To be refused here is a bug of ours, never a
caller's mistake: it is counted, reported and ends the request. Synchronous, no state.

    egress(label, destination)                  data of a request
    egress(NO_DATA, Destination("jwks", "L2"))  what carries none
"""

from typing import TYPE_CHECKING, Final

from fastpath.guard.label import Label

if TYPE_CHECKING:
    from fastpath.guard.places import Masked, Place
    from fastpath.runtime import Runtime

VIOLATIONS: Final = "fastpath_egress_violations_total"


class EgressViolation(Exception):
    """Data was about to go where it may not. Names the class, the tier and the place, and nothing of the data."""

    def __init__(self, data_class: str, tier: str, name: str, why: str) -> None:
        super().__init__(f"data of class {data_class} was stopped on its way to {name} (tier {tier}): {why}")
        self.data_class = data_class
        self.tier = tier


def egress(label: Label | None, place: "Place", masked: "Masked | None" = None) -> None:
    """Returns when data of this label may go there. Raises EgressViolation."""
    if label is None:
        raise EgressViolation("unknown", place.tier, place.name, "it has no label")
    tier = place.tier
    if tier != "L0" and tier != "L1":
        if tier != "L2":
            raise EgressViolation(label.data_class, "unknown", place.name, "there is no such tier")
        if label.data_class != "P2" and not (label.data_class == "P1" and masked is not None):
            raise EgressViolation(label.data_class, tier, place.name, "this class stays in L0 and L1")
    if label.tiers is not None and tier not in label.tiers:
        raise EgressViolation(label.data_class, tier, place.name, "its tenant's residency leaves out this tier")
    if label.regions is not None and place.region not in label.regions:
        raise EgressViolation(label.data_class, tier, place.name, "its tenant's residency leaves out this region")


def report(violation: EgressViolation, runtime: "Runtime") -> None:
    """Counts a breach that was stopped, and tells the operator as any bug of ours is told."""
    runtime.metrics.count(VIOLATIONS, (violation.data_class, violation.tier))
    runtime.loop.call_exception_handler({"message": "the egress gate stopped a request", "exception": violation})
