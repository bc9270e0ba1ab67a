"""What a caller is told: headers while it passes, and who must do what when it does not."""

import msgspec
import pytest

from fastpath import errors
from fastpath.errors import GatewayError
from fastpath.limits.meters import Meters, go_duration
from fastpath.limits.refusal import describe, forbidden_degrade

LIMITS = """
keys:
  - name: k
    hash: HASH
    limits:
      - {count: requests, most: 60}
      - {count: requests, most: 1000, per: day}
      - {count: tokens, most: 6000}
      - {count: input_tokens, most: 5000}
      - {count: concurrency, most: 2}
"""


def fields(error: GatewayError) -> dict[bytes, bytes]:
    return dict(error.headers)


def test_openai_headers_tell_the_tightest_limit_of_each_kind(gate) -> None:
    gate = gate(LIMITS)
    plan = gate.plan()
    meters = Meters(plan)
    gate.take("k", 100, 500)
    assert meters.headers(plan.limiter, gate.clock.monotonic()) == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", b"1s"),
        (b"x-ratelimit-limit-tokens", b"6000"),
        (b"x-ratelimit-remaining-tokens", b"5400"),
        (b"x-ratelimit-reset-tokens", b"6s"),
    ]
    assert dict(meters.headers(plan.limiter, gate.clock.monotonic() + 0.5))[b"x-ratelimit-reset-requests"] == b"500ms"


def test_anthropic_headers_have_their_names_and_moments(gate) -> None:
    gate = gate(LIMITS)
    gate.take("k", 100, 500)
    plan = gate.plan()
    found = dict(Meters(plan).messages_headers(plan.limiter, gate.clock.monotonic(), 1_790_000_000.0))
    assert found[b"anthropic-ratelimit-requests-limit"] == b"60"
    assert found[b"anthropic-ratelimit-requests-reset"] == b"2026-09-21T14:13:21Z"
    assert found[b"anthropic-ratelimit-tokens-remaining"] == b"5400"
    assert found[b"anthropic-ratelimit-input-tokens-remaining"] == b"4900"
    assert b"anthropic-ratelimit-output-tokens-limit" not in found


def test_input_limits_stand_for_tokens_where_there_are_no_others(gate) -> None:
    gate = gate("keys: [{name: k, hash: HASH, limits: [{count: input_tokens, most: 50}]}]")
    plan = gate.plan()
    assert dict(Meters(plan).headers(plan.limiter, 1.0))[b"x-ratelimit-remaining-tokens"] == b"50"


def test_what_all_callers_share_is_told_to_nobody(gate) -> None:
    gate = gate(
        """
        keys: [{name: k, hash: HASH}]
        models:
          - name: llama
            endpoints: [{url: "http://127.0.0.1:9001/v1"}]
            limits: [{count: requests, most: 5}, {count: tokens, most: 5}, {count: concurrency, most: 1}]
        """
    )
    plan = gate.plan()
    assert Meters(plan).headers(plan.limiter, 1.0) == []
    running = gate.take("k", 5)
    for rejection in (gate.refuse("k", 1), gate.refuse("k", 0)):
        error = describe(rejection)
        assert (error.status, error.code) == (503, "overloaded")
        assert b"retry-after" in fields(error)
        assert "5" not in error.message
    running.settle(gate.clock.monotonic(), 5, 0, 0)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, b"0s"), (1, b"1ms"), (12_000_000, b"12ms"), (999_000_001, b"1s"), (1_500_000_000, b"1.5s"),
        (59_999_000_000, b"59.999s"), (59_999_999_999, b"1m0s"), (360_000_000_000, b"6m0s"),
        (3_600_000_000_000, b"1h0m0s"), (86_399_500_000_000, b"24h0m0s"), (20_000_000_000, b"20s"),
    ],
)  # fmt: skip
def test_durations_are_gos(nanoseconds: int, text: bytes) -> None:
    assert go_duration(nanoseconds) == text


def test_a_rate_says_whose_it_is_and_when_to_come_back(gate) -> None:
    gate = gate("tenants: [{name: t, limits: [{most: 30}]}]\nkeys: [{name: k, hash: HASH, tenant: t}]")
    for _ in range(30):
        gate.take()
    gate.clock.advance(0.5)
    error = describe(gate.refuse(), [(b"x-ratelimit-limit-requests", b"30")])
    assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert error.message == "Your tenant's limit of 30 requests per minute is reached. Try again in 1.5 s."
    assert fields(error) == {
        b"retry-after": b"2", b"retry-after-ms": b"1500", b"x-ratelimit-limit-requests": b"30",
    }  # fmt: skip
    gate.clock.advance(1.5)
    gate.take()


def test_a_request_beyond_its_burst_is_not_to_be_tried_again(gate) -> None:
    gate = gate(LIMITS)
    error = describe(gate.refuse("k", 10, 6_000))
    assert "lower max_tokens" in error.message
    assert fields(error) == {b"x-should-retry": b"false"}


def test_places_say_to_wait_for_an_end(gate) -> None:
    gate = gate(LIMITS)
    held = [gate.take(), gate.take()]
    error = describe(gate.refuse())
    assert error.message.startswith("This key's limit of 2 requests at once is reached.")
    assert fields(error) == {b"retry-after": b"1", b"retry-after-ms": b"1000"}
    del held


def test_a_spent_budget_stops_clients_from_trying_again(gate) -> None:
    gate = gate(
        """
        tenants: [{name: t, time_zone: Europe/Berlin, teams: [{name: red, budgets: [{name: lunch, amount: 1}]}]}]
        keys: [{name: k, hash: HASH, tenant: t, team: red}]
        """
    )
    error = describe(gate.refuse(money=2 * 10**9))
    assert (error.status, error.code) == (429, "insufficient_quota")
    assert fields(error) == {b"x-should-retry": b"false"}
    assert "Your team's budget 'lunch'" in error.message
    assert "2026-10-01 00:00 (Europe/Berlin)" in error.message
    body = msgspec.json.decode(errors.shape(error, "messages", "req_1"))
    assert body["error"]["type"] == "billing_error"
    assert forbidden_degrade("mini").code == "insufficient_quota"


def test_forbidden_is_403() -> None:
    error = errors.forbidden("This key may not use this path.")
    assert (error.status, error.code, error.type) == (403, "permission_denied", "permission_error")
    body = msgspec.json.decode(errors.shape(error, "messages", "req_1"))
    assert body["error"]["type"] == "permission_error"


def test_a_replaced_process_sends_callers_away(gate) -> None:
    gate = gate(LIMITS)
    rejection = gate.refuse("k", 10, 6_000)
    rejection.cause = "superseded"
    assert fields(describe(rejection))[b"connection"] == b"close"
    rejection.cause = "full"
    assert describe(rejection).status == 503
