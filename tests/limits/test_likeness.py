"""Keys that are alike share what is alike about them; what counts for each stays its own."""

import textwrap

import pytest

from _native.arena import Arena, digest
from _native.limiter import MOST_BUDGETS, MOST_RATES, MOST_SLOTS, Allowance, Budget, Limiter, Rate
from fastpath.limits.book import Book, resolved_keys
from fastpath.limits.desk import Desk
from fastpath.settings import Settings
from fastpath.settings.file import load

FIRST, SECOND, OTHER = "b2:01234567:" + 64 * "1", "b2:01234567:" + 64 * "2", "b2:01234567:" + 64 * "3"
TEXT = f"""
tenants: [{{name: t, users: [{{name: u, team: red}}], teams: [{{name: red}}, {{name: blue}}]}}]
keys:
  - {{name: first, hash: "{FIRST}", tenant: t, user: u, models: [llama], limits: [{{count: requests, most: 5}}]}}
  - {{name: second, hash: "{SECOND}", tenant: t, models: [llama], limits: [{{count: requests, most: 5}}]}}
  - {{name: other, hash: "{OTHER}", tenant: t, team: blue, limits: [{{count: requests, most: 6}}]}}
models:
  - {{name: llama, endpoints: [{{url: "http://127.0.0.1:9001/v1"}}]}}
"""


@pytest.fixture
def settings() -> Settings:
    return load(textwrap.dedent(TEXT), {})


def test_plans_that_are_alike_have_the_same_meters_and_counts_of_their_own(settings: Settings, arena: Arena) -> None:
    desk = Desk(Book(settings, arena), lambda _: None)
    first, second, other = (desk.standing(name, "llama") for name in ("first", "second", "other"))
    assert first.meters is second.meters is not other.meters
    desk.admit(first, 1.0, 1.0, 0, 0, 0)
    left = [dict(one.headers("chat", 1.0, 1.0))[b"x-ratelimit-remaining-requests"] for one in (first, second, other)]
    assert left == [b"4", b"5", b"6"]


def test_keys_share_what_they_have_in_common(settings: Settings) -> None:
    first, second, other = resolved_keys(settings)
    assert first.models is second.models
    assert first.tenant is second.tenant is other.tenant
    assert [key.team for key in (first, second, other)] == ["red", None, "blue"]
    assert [key.models for key in (first, second, other)] == [key.models for key in settings.keys]
    assert [key.name for key in (first, second, other)] == ["first", "second", "other"]


def test_a_limiter_is_as_large_as_what_it_holds(arena: Arena) -> None:
    """A node has one for each key: with room for the most of everything each took 4 KiB, all of it out of cache."""
    assert Limiter.__basicsize__ <= 128
    rates = [Rate(arena.bucket(digest("rate", str(i))), 10**9, i + 1, family=i) for i in range(MOST_RATES)]
    slots = [(arena.limit(digest("slots", str(i))), i + 1) for i in range(MOST_SLOTS)]
    budgets = [
        Allowance(Budget(arena, digest("budget", str(i))), "tokens", 100 + i, 100 + i, 100 + i)
        for i in range(MOST_BUDGETS)
    ]
    limiter = Limiter(arena, rates, slots, budgets)
    for place in range(MOST_BUDGETS):
        limiter.turn(place, 7 + place, 6 + place)
        limiter.notice(place, 1)
    ticket = limiter.admit(10**9, 10**15, 3, 4, 0)
    assert [limiter.tightest(10**9, family)[:2] for family in range(MOST_RATES)] == [(i, i) for i in range(MOST_RATES)]
    assert [limiter.committed(place) for place in range(MOST_BUDGETS)] == [(7, 7, 7 + i) for i in range(MOST_BUDGETS)]
    assert limiter.admit(10**9, 10**15, 0, 0, 0).cause in ("rate", "slots")
    assert ticket.settle(10**9, 3, 5, 0) == 2**MOST_BUDGETS - 1
    assert [limiter.committed(place)[0] for place in range(MOST_BUDGETS)] == [8] * MOST_BUDGETS
    with pytest.raises(RuntimeError, match="made once"):
        limiter.__init__(arena)
