"""The gate by itself: every label against every place, by the text of the rules and not by routing's own tables."""

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from fastpath.guard.egress import VIOLATIONS, EgressViolation, egress, report
from fastpath.guard.label import NO_DATA, Label
from fastpath.guard.places import Destination
from fastpath.observe.metrics import Metrics

TIERS = ["L0", "L1", "L2"]
REGIONS = ["eu", "cn", None]
RESIDENCIES: list[tuple[Any, Any]] = [
    (None, None),
    (frozenset({"L1"}), None),
    (frozenset({"L2"}), None),
    (None, frozenset({"eu"})),
    (frozenset({"L1", "L2"}), frozenset({"eu", "cn"})),
    (frozenset(), None),
    (None, frozenset()),
]


def allowed(data_class: str, tiers: Any, regions: Any, tier: str, region: str | None) -> bool:
    """The rules as the documentation has them."""
    if data_class in ("P0", "P1") and tier not in ("L0", "L1"):
        return False
    return (tiers is None or tier in tiers) and (regions is None or region in regions)


@pytest.mark.parametrize(("tiers", "regions"), RESIDENCIES)
@pytest.mark.parametrize("data_class", ["P0", "P1", "P2"])
def test_every_label_against_every_place(data_class: Any, tiers: Any, regions: Any) -> None:
    label = Label(data_class, tiers, regions)
    for tier, region in product(TIERS, REGIONS):
        wanted = allowed(data_class, tiers, regions, tier, region)
        assert label.admits(tier, region) == wanted
        if wanted:
            egress(label, Destination("e", tier, region))
        else:
            with pytest.raises(EgressViolation):
                egress(label, Destination("e", tier, region))


@pytest.mark.parametrize("tier", ["L3", "", "l1", "L2 "])
def test_an_unknown_tier_is_no_place(tier: str) -> None:
    for label in (Label("P0"), Label("P2"), NO_DATA):
        with pytest.raises(EgressViolation):
            egress(label, Destination("e", tier))


def test_what_has_no_label_goes_nowhere() -> None:
    for tier in TIERS:
        with pytest.raises(EgressViolation, match="no label"):
            egress(None, Destination("e", tier))


def test_a_masked_copy_opens_the_cloud_to_p1_and_to_nothing_else() -> None:
    masked: Any = SimpleNamespace(masked_class="P1")
    egress(Label("P1"), Destination("e", "L2"), masked)
    for label in (Label("P0"), Label("P1", tiers=frozenset({"L1"})), Label("P1", regions=frozenset({"eu"}))):
        with pytest.raises(EgressViolation):
            egress(label, Destination("e", "L2"), masked)


def test_it_does_not_believe_what_routing_worked_out() -> None:
    """The mask of tiers that routing filters by plays no part."""
    label: Any = Label("P0")
    with pytest.raises((AttributeError, TypeError)):
        label.reach = 7
    wide: Any = SimpleNamespace(name="e", tier="L2", region=None, reach=7, allowed=True)
    with pytest.raises(EgressViolation):
        egress(label, wide)


def test_a_breach_is_counted_and_told() -> None:
    said: list[dict[str, Any]] = []
    metrics = Metrics()
    runtime: Any = SimpleNamespace(metrics=metrics, loop=SimpleNamespace(call_exception_handler=said.append))
    with pytest.raises(EgressViolation) as caught:
        egress(Label("P0"), Destination("cloud-one", "L2"))
    report(caught.value, runtime)
    assert metrics.snapshot().counters[VIOLATIONS][("P0", "L2")] == 1
    assert said[0]["exception"] is caught.value
    assert "cloud-one" in str(caught.value)
