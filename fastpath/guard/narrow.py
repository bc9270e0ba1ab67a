"""The first wall: routing is offered only those endpoints that a request's label admits. Pure."""

from typing import TYPE_CHECKING

from fastpath.guard.label import Label

if TYPE_CHECKING:
    from fastpath.snapshot import Target


def narrow(targets: "tuple[Target, ...]", label: Label) -> "tuple[Target, ...]":
    """Those of the targets that lie where the label admits."""
    return tuple([target for target in targets if label.admits(target.tier, target.spec.region)])
