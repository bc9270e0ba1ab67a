"""Takes back where data may go: requests that run are held to the settings of now, when these are stricter.

Owns the judgement. Does not own the walk over what runs (`fastpath.identity.recall`). What newer settings allow and
older did not is for new requests only: labels only rise.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fastpath.errors import GatewayError
from fastpath.guard.label import Label
from fastpath.guard.reason import unavailable
from fastpath.guard.stage import classify

if TYPE_CHECKING:
    from backends.base import EndpointSpec
    from fastpath.relay.delivery import Delivery
    from fastpath.snapshot import Snapshot


class Places:
    """The endpoints of a snapshot by their URLs: a server that was local may have become a cloud."""

    def __init__(self, specs: "Iterable[EndpointSpec]") -> None:
        self._by_url: dict[str, list[EndpointSpec]] = {}
        for spec in specs:
            self._by_url.setdefault(spec.url, []).append(spec)

    def of(self, spec: "EndpointSpec") -> "Sequence[EndpointSpec]":
        """What is said of a place now; what was said, where it is not named any more."""
        return self._by_url.get(spec.url) or (spec,)

    def admit(self, label: Label, spec: "EndpointSpec") -> bool:
        """Whether data of this label may be where it is, by what is said of the place now, else by what was said."""
        return all(label.admits(each.tier, each.region) for each in self.of(spec))


def review(delivery: "Delivery", present: "Snapshot", places: Places) -> GatewayError | None:
    """Raises the label of a request that runs, and takes from it what it may not be sent to any more.

    Returns why it may not go on where it is; None when it may.
    """
    ctx = delivery.ctx
    assert ctx.route is not None
    classify(ctx, present, present.routes.get(ctx.route.name) or ctx.route)
    label, current = ctx.label, delivery.place
    assert label is not None
    delivery.keep(lambda target: places.admit(label, target.spec))
    if current is None or places.admit(label, current):
        return None
    return unavailable(ctx, "withdrawn")
