"""What settings of routing must be together: weights that are 1, a pin that is there. Rules as in `rules`. Pure."""

from collections.abc import Iterator, Set
from typing import Any

from fastpath.settings.findings import Finding, Values, items_of, suggest
from fastpath.settings.problem import Path
from fastpath.settings.routing import Routing, Weights
from fastpath.settings.syntax import url_label

#: Of a sum of decimal fractions.
ROUNDING = 1e-6


def find_routing_conflicts(values: Values, hidden: Set[Path]) -> Iterator[Finding]:
    """Everything that the rules find. Values at `hidden` paths are never shown."""
    routing: Any = values.get("routing") or {}
    weights = routing.get("weights") or {}
    parts = [weights.get(name, getattr(Weights(), name)) for name in Weights.__struct_fields__]
    parts += [scorer.get("weight", 0) for _, scorer in items_of(routing, ("scorers",))]
    if abs(sum(parts) - 1) > ROUNDING:
        where = ("routing", "weights") if weights else ("routing", "scorers")
        yield where, f"adds up to {sum(parts):g} with routing.scorers: make all weights together 1"
    wait, back = (routing.get(name, getattr(Routing(), name)) for name in ("overflow_wait", "overflow_back"))
    if back > wait:
        name = "overflow_back" if "overflow_back" in routing else "overflow_wait"
        yield ("routing", name), "makes routing.overflow_back larger than routing.overflow_wait"
    for path, model in items_of(values, ("models",)):
        yield from _judge_pin(model, path, hidden)


def _judge_pin(model: Values, path: Path, hidden: Set[Path]) -> Iterator[Finding]:
    pin, pinned = model.get("pin"), model.get("strategy") == "pinned"
    if pinned and model.get("scenario") is not None:
        yield (*path, "scenario"), "has no effect where the strategy is pinned: remove one of them"
    if pin is None:
        if pinned:
            yield (*path, "strategy"), "needs the name of an endpoint in `pin`"
        return
    if not pinned:
        yield (*path, "pin"), "has no effect unless strategy is pinned: set it, or remove this"
    labels = {
        str(one.get("name") or url_label(str(one.get("url", "")))): at
        for at, one in items_of(model, (*path, "endpoints"))
    }
    if pin not in labels:
        shown = [label for label, at in labels.items() if (*at, "name") not in hidden and (*at, "url") not in hidden]
        yield (*path, "pin"), f"is no endpoint of this model: {suggest(str(pin), shown, 'endpoints')}"
