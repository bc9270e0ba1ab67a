"""Who says what class data is of: the strictest word counts, a tenant's default stands in for the gateway's, and what
nobody says is never P2 by accident."""

from itertools import product
from typing import Any

import pytest

from fastpath.guard.classes import Classes, assumed_class
from fastpath.guard.label import Label
from fastpath.settings import Endpoint, Model, Residency, Settings, Tenant

WORDS: list[Any] = [None, "P0", "P1", "P2"]


def settings_of(common: Any = None, default: Any = None, *tiers: Any, residency: Residency | None = None) -> Settings:
    endpoints = tuple(Endpoint(url=f"http://127.0.0.1:{9000 + i}/v1", tier=tier) for i, tier in enumerate(tiers))
    tenants = (Tenant(name="acme", data_class=default, residency=residency), Tenant(name="mute"))
    return Settings(data_class=common, tenants=tenants, models=(Model(name="m", endpoints=endpoints),))


@pytest.mark.parametrize(("common", "default"), [*product(WORDS, WORDS)])
def test_the_strictest_word_counts(common: Any, default: Any) -> None:
    classes = Classes(settings_of(common, default, "L1", "L2"))
    for said, rule in product(WORDS, WORDS):
        words = [word for word in (said, default or common, rule) if word]
        label = classes.label(said, "acme", rule)
        assert label.data_class == (min(words) if words else "P0")
        assert label.assumed == (not words)
        for stranger in ("mute", "nobody", None):
            words = [word for word in (said, common, rule) if word]
            assert classes.label(said, stranger, rule).data_class == (min(words) if words else "P0")


def test_a_header_cannot_lower_a_tenant() -> None:
    classes = Classes(settings_of("P2", "P0", "L1", "L2"))
    assert classes.label("P2", "acme", None).data_class == "P0"
    assert classes.label("P2", "mute", None).data_class == "P2"


@pytest.mark.parametrize(
    ("tiers", "wanted"),
    [(["L2"], "P2"), (["L1"], "P0"), (["L0", "L1"], "P0"), (["L1", "L2"], "P0"), ([], "P0"), (["L2", "L2"], "P2")],
)
def test_what_nobody_says(tiers: list[str], wanted: str) -> None:
    assert assumed_class(tiers) == wanted
    assert Classes(settings_of(None, None, *tiers)).label(None, None, None).data_class == wanted


def test_residency_comes_with_the_tenant() -> None:
    residency = Residency(tiers=("L1", "L2"), regions=("eu",))
    classes = Classes(settings_of("P2", None, "L1", "L2", residency=residency))
    label = classes.label(None, "acme", None)
    assert label == Label("P2", frozenset({"L1", "L2"}), frozenset({"eu"}))
    assert classes.label(None, "mute", None).regions is None


def test_a_label_is_made_once_and_stays_right_when_many_are() -> None:
    classes = Classes(settings_of("P1", None, "L1"))
    assert classes.label(None, "mute", None) is classes.label(None, "mute", None)
    for number in range(10_000):
        classes.label(None, f"tenant-{number}", None)
    assert classes.label(None, "mute", None) == classes.label(None, "nobody", None)
