"""Which limits meet a request, what they count, and shares of a capacity that changes."""

import pytest

from fastpath.limits.admission import Rejection, Ticket
from fastpath.limits.book import Holder
from fastpath.limits.meters import Meters
from fastpath.settings.tenancy import Counted

CHAIN = """
tenants:
  - name: acme
    limits: [{count: requests, most: 40}]
    model_limits: [{model: mini, limits: [{count: requests, most: 3}]}]
    teams: [{name: search, limits: [{count: requests, most: 30}]}]
    users:
      - {name: ann, team: search, limits: [{count: requests, most: 20}]}
  - {name: other, limits: [{count: requests, most: 2}]}
keys:
  - {name: k, hash: HASH, tenant: acme, user: ann, limits: [{count: requests, most: 10}]}
  - {name: k2, hash: HASH, tenant: acme, user: ann}
  - {name: k3, hash: HASH, tenant: acme, team: search}
  - {name: k4, hash: HASH, tenant: acme, model_limits: [{model: llama, limits: [{count: requests, most: 1}]}]}
  - {name: foreign, hash: HASH, tenant: other}
  - {name: alone, hash: HASH}
"""


def passed(gate, key: str, model: str = "llama") -> int:
    """How many requests pass at once until one is refused."""
    number = 0
    while isinstance(gate.ask(key, model=model), Ticket):
        number += 1
        assert number < 1_000
    return number


def test_every_owner_of_a_key_limits_it_and_is_shared(gate) -> None:
    gate = gate(CHAIN)
    assert passed(gate, "k") == 10  # its own
    assert passed(gate, "k2") == 10  # the user's, of which k took 10
    assert passed(gate, "k3") == 10  # the team's
    assert passed(gate, "k4") == 1  # its own for this model
    assert passed(gate, "k4", "mini") == 3  # the tenant's for that model
    assert passed(gate, "foreign") == 2
    assert [isinstance(gate.ask("alone"), Ticket) for _ in range(99)] == [True] * 99


def test_whoever_comes_without_a_key_shares_the_same_limits(gate) -> None:
    """A token's tenant, team and user are those of keys: one counter each, whichever worker or book asks."""
    one, other = gate(CHAIN), gate(CHAIN)
    assert passed(one, "k") == 10
    ann = Holder("acme", None, "ann")
    assert [bound.owner.scope for bound in one.plan(ann).rates] == ["tenant", "team", "user"]
    assert passed(other, ann) == 10  # the user's, of which k took 10
    assert passed(one, Holder("acme", "search", "corp:bob")) == 10  # the team's
    assert passed(other, Holder("acme", "unheard-of", "corp:bob")) == 10  # the tenant's
    assert passed(one, Holder("acme")) == 0
    assert passed(other, Holder("other", "search", "ann")) == 2, "names are a tenant's own"
    assert not one.plan(Holder()).rates
    assert not one.plan(Holder("nowhere", "search", "ann")).rates


def test_a_users_team_is_the_keys(gate) -> None:
    plan = gate(CHAIN).plan("k2")
    assert [bound.owner.scope for bound in plan.rates] == ["tenant", "team", "user"]


def test_models_limit_all_callers_together(gate) -> None:
    gate = gate(
        """
        keys: [{name: a, hash: HASH}, {name: b, hash: HASH}]
        models:
          - name: llama
            endpoints: [{url: "http://127.0.0.1:9001/v1"}]
            limits: [{count: concurrency, most: 2}, {count: requests, most: 5}]
        """
    )
    held = [gate.take("a"), gate.take("b")]
    assert gate.refuse("a").cause == "slots"
    for ticket in held:
        ticket.settle(gate.clock.monotonic(), 0, 0, 0)
    assert passed(gate, "a") + passed(gate, "b") == 3
    assert isinstance(gate.ask(None), Rejection)  # callers without keys count too


@pytest.mark.parametrize(
    ("count", "most", "cost"),
    [("input_tokens", 100, 7), ("output_tokens", 100, 5), ("tokens", 100, 12), ("weighted_tokens", 100, 17)],
)
def test_tokens_are_counted_as_said(gate, count: Counted, most: int, cost: int) -> None:
    weight = ", output_weight: 2" if count == "weighted_tokens" else ""
    gate = gate(f"keys: [{{name: k, hash: HASH, limits: [{{count: {count}, most: {most}{weight}}}]}}]")
    number = 0
    while isinstance(gate.ask("k", 7, 5), Ticket):
        number += 1
    assert number == most // cost


def test_what_an_estimate_took_too_much_comes_back(gate) -> None:
    gate = gate("keys: [{name: k, hash: HASH, limits: [{count: tokens, most: 1400}]}]")
    for _ in range(10):
        gate.take("k", 100, 400).settle(gate.clock.monotonic(), 90, 10, 0)
    assert gate.refuse("k", 401, 0).cause == "rate"
    gate.take("k", 400, 0)


def test_what_an_estimate_missed_is_owed(gate) -> None:
    gate = gate("keys: [{name: k, hash: HASH, limits: [{count: tokens, most: 600}]}]")
    gate.take("k", 10, 0).settle(gate.clock.monotonic(), 10, 1_190, 0)  # two minutes' worth
    gate.clock.advance(59.9)
    assert gate.refuse("k", 1, 0).cause == "rate"
    gate.clock.advance(0.3)
    gate.take("k", 1, 0)


def test_windows_and_bursts(gate) -> None:
    gate = gate(
        """
        keys:
          - name: k
            hash: HASH
            limits:
              - {count: requests, most: 600, burst: 2}
              - {count: requests, most: 30, window: 10}
              - {count: requests, most: 50, per: hour}
        """
    )
    times: list[float] = []
    for _ in range(60_000):
        if isinstance(gate.ask(), Ticket):
            times.append(gate.clock.monotonic())
        gate.clock.advance(0.01)
    for most, burst, window in ((600, 2, 60), (30, 30, 10), (50, 50, 3_600)):
        for begin in times:
            assert sum(begin <= time < begin + window for time in times) <= most + burst
    assert len(times) == 50 + 600 * 50 // 3_600


def test_rates_are_exact_over_a_minute(gate) -> None:
    """T10: admitted <= limit x 1.001 + burst over any minute, and no less than the limit either."""
    gate = gate("keys: [{name: k, hash: HASH, limits: [{count: requests, most: 7000, burst: 10}]}]")
    admitted = 0
    for _ in range(60_000):
        gate.clock.advance(0.001)
        admitted += isinstance(gate.ask(), Ticket)
    assert 7_000 <= admitted <= 7_007 + 10


def test_a_request_that_never_fits_is_told_so(gate) -> None:
    gate = gate("keys: [{name: k, hash: HASH, limits: [{count: tokens, most: 100}]}]")
    assert gate.refuse("k", 60, 41).retry_after == -1


def test_a_raised_limit_goes_on_counting(gate) -> None:
    text = "keys: [{{name: k, hash: HASH, limits: [{{count: requests, most: {}}}]}}]"
    first = gate(text.format(10))
    assert passed(first, "k") == 10
    second = gate(text.format(20))
    assert 0 <= passed(second, "k") <= 15  # what was taken is not forgotten


class Measured:
    """A capacity that tests set, per second."""

    def __init__(self, capacity: float | None) -> None:
        self.capacity = capacity

    def per_second(self, model: str, counted: Counted) -> float | None:
        return self.capacity


def rate_over(gate, seconds: float) -> float:
    """Requests admitted per second when they come without end."""
    admitted = 0
    for _ in range(int(seconds * 200)):
        gate.clock.advance(1 / 200)
        while isinstance(gate.ask(), Ticket):
            admitted += 1
    return admitted / seconds


SHARE = "keys: [{name: k, hash: HASH, limits: [{count: requests, share: 0.2, per: second}]}]"


def test_half_the_capacity_admits_half_as_much_within_five_seconds(gate) -> None:
    capacity = Measured(500.0)
    gate = gate(SHARE, capacity)
    rate_over(gate, 2)
    assert rate_over(gate, 10) == pytest.approx(100, rel=0.02)
    capacity.capacity = 250.0
    rate_over(gate, 5)
    assert rate_over(gate, 10) == pytest.approx(50, rel=0.02)
    capacity.capacity = 1_000.0
    rate_over(gate, 5)
    assert rate_over(gate, 10) == pytest.approx(200, rel=0.02)


def test_before_anything_is_measured_the_number_holds(gate) -> None:
    capacity = Measured(None)
    assert passed(gate(SHARE.replace("share: 0.2", "share: 0.2, most: 7"), capacity), "k") == 7
    gate = gate(SHARE.replace("name: k", "name: free"), capacity)
    assert [isinstance(gate.ask("free"), Ticket) for _ in range(500)] == [True] * 500
    plan = gate.plan("free")
    assert Meters(plan).headers(plan.limiter, gate.clock.monotonic()) == []


def test_nothing_measured_at_all_admits_nearly_nothing(gate) -> None:
    gate = gate(SHARE, Measured(0.0))
    assert rate_over(gate, 5) <= 1.2
