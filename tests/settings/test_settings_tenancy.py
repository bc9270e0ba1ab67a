"""Tenants, limits, budgets and prices in the settings file: what is taken, and what is refused where."""

import textwrap

import pytest

from fastpath.money.price import Billable, Price, nano_of, pico_of
from fastpath.settings import Settings, decode_settings, encode_settings
from fastpath.settings.file import load
from fastpath.settings.problem import SettingsError
from fastpath.settings.tenancy import ModelPrice

FULL = """
tenants:
  - name: acme
    time_zone: Europe/Berlin
    currency: EUR
    limits:
      - {count: requests, most: 600}
      - {count: tokens, most: 1000000, burst: 50000}
      - {count: weighted_tokens, most: 500, per: hour, output_weight: 5}
      - {count: concurrency, most: 40}
      - {count: output_tokens, share: 0.25, per: second}
    model_limits: [{model: llama, limits: [{count: requests, most: 5, window: 0.5}]}]
    budgets:
      - {name: month, amount: 100.5, carry_over: 0.5}
      - {name: week, tokens: 5000, period: rolling, days: 7, hard: false, thresholds: []}
    teams: [{name: search, budgets: [{amount: 5, period: day}]}]
    users: [{name: ann, team: search, limits: [{most: 1}]}]
keys:
  - {name: k, hash: HASH, tenant: acme, user: ann, budgets: [{tokens: 10, thresholds: [
      {percent: 80, action: degrade, model: mini}, {percent: 90, action: block}]}]}
  - {name: k2, hash: HASH2}
models:
  - name: llama
    endpoints: [{url: "http://127.0.0.1:9001/v1"}]
    limits: [{count: concurrency, most: 100}]
    price: {currency: EUR, input: 0.15, output: 0.6, cached: 0.075, request: 0.0001}
  - {name: mini, endpoints: [{url: "http://127.0.0.1:9002/v1"}]}
"""


def read(text: str) -> Settings:
    text = (
        textwrap.dedent(text).replace("HASH2", f"b2:01234567:{'cd' * 32}").replace("HASH", f"b2:01234567:{'ab' * 32}")
    )
    return load(text, {})


def test_a_whole_tenancy_loads_and_crosses_the_pipe() -> None:
    settings = read(FULL)
    assert decode_settings(encode_settings(settings)) == settings
    tenant = settings.tenants[0]
    assert [limit.seconds for limit in tenant.limits] == [60, 60, 3600, 60, 1]
    assert tenant.model_limits[0].limits[0].seconds == 0.5
    assert [one.percent for one in tenant.budgets[0].thresholds] == [50, 80, 100]
    assert settings.keys[0].budgets[0].thresholds[0].model == "mini"


def test_prices_are_exact_in_pico_units() -> None:
    price = ModelPrice(input=0.15, output=0.6, cached=0.075, request=0.0001, image=0.02).as_price("2026-11")
    assert price == Price(
        version="2026-11", currency="USD", input=150_000, output=600_000, cached=75_000, image=20_000_000_000,
        request=100_000_000,
    )  # fmt: skip
    assert nano_of(pico_of(price, Billable(input=1_000_000, output=1_000_000))) == 750_100_000


MODEL = 'models: [{name: llama, endpoints: [{url: "http://127.0.0.1:9001/v1"}]}]'


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("tenants: [{name: a}, {name: a}]", "tenants[1].name", "the same as tenants[0].name"),
        ("tenants: [{name: a, teams: [{name: x}, {name: x}]}]", "tenants[0].teams[1].name", "each needs its own"),
        ("tenants: [{name: a, users: [{name: x}, {name: x}]}]", "tenants[0].users[1].name", "each needs its own"),
        ("tenants: [{name: a, users: [{name: x, team: red}]}]", "tenants[0].users[0].team", "no team of this tenant"),
        ("tenants: [{name: a, time_zone: Mars/Base}]", "tenants[0].time_zone", "must be a time zone"),
        ("tenants: [{name: a, time_zone: ../etc}]", "tenants[0].time_zone", "must be a time zone"),
        ("tenants: [{name: a, currency: euro}]", "tenants[0].currency", "three capital letters"),
        ("keys: [{name: k, hash: HASH, tenant: b}]", "keys[0].tenant", "no tenant of this file"),
        ("keys: [{name: k, hash: HASH, team: b}]", "keys[0].team", "needs the key's tenant"),
        ("tenants: [{name: a}]\nkeys: [{name: k, hash: HASH, tenant: a, user: u}]", "keys[0].user", "no user of"),
        (
            "tenants: [{name: a, teams: [{name: x}, {name: y}], users: [{name: u, team: x}]}]\n"
            "keys: [{name: k, hash: HASH, tenant: a, user: u, team: y}]",
            "keys[0].team",
            "another team than",
        ),
        ("tenants: [{name: a, limits: [{count: requests}]}]", "tenants[0].limits[0].most", "say how many"),
        (
            "tenants: [{name: a, limits: [{count: concurrency, most: 1, per: hour}]}]",
            "tenants[0].limits[0].per",
            "no effect on concurrency",
        ),
        (
            "tenants: [{name: a, limits: [{count: tokens, most: 1, output_weight: 2}]}]",
            "tenants[0].limits[0].output_weight",
            "for weighted_tokens alone",
        ),
        (
            "tenants: [{name: a, limits: [{most: 1, per: hour, window: 2}]}]",
            "tenants[0].limits[0].window",
            "a second time",
        ),
        (
            "keys: [{name: k, hash: HASH, limits: [{most: 1}, {most: 2, per: minute}]}]",
            "keys[0].limits[1]",
            "the same window",
        ),
        ("keys: [{name: k, hash: HASH, limits: [{most: 0}]}]", "keys[0].limits[0].most", "from 1"),
        ("keys: [{name: k, hash: HASH, budgets: [{}]}]", "keys[0].budgets[0].amount", "must be given"),
        (
            "keys: [{name: k, hash: HASH, budgets: [{amount: 1, tokens: 1}]}]",
            "keys[0].budgets[0].amount",
            "not both",
        ),
        (
            "keys: [{name: k, hash: HASH, budgets: [{amount: 1, period: rolling}]}]",
            "keys[0].budgets[0].days",
            "how many days",
        ),
        ("keys: [{name: k, hash: HASH, budgets: [{amount: 1, days: 3}]}]", "keys[0].budgets[0].days", "rolling"),
        (
            "keys: [{name: k, hash: HASH, budgets: [{amount: 1, period: rolling, days: 3, carry_over: 1}]}]",
            "keys[0].budgets[0].carry_over",
            "never ends",
        ),
        (
            "keys: [{name: k, hash: HASH, budgets: [{amount: 1}, {tokens: 1}]}]",
            "keys[0].budgets[1].name",
            "each needs its own",
        ),
        (
            "keys: [{name: k, hash: HASH, budgets: [{amount: 1, thresholds: [{percent: 80}, {percent: 50}]}]}]",
            "keys[0].budgets[0].thresholds[1].percent",
            "thresholds ascend",
        ),
        (
            "keys: [{name: k, hash: HASH, budgets: [{amount: 1, thresholds: [{percent: 80, action: degrade}]}]}]",
            "keys[0].budgets[0].thresholds[0].model",
            "name the cheaper model",
        ),
        (
            "keys: [{name: k, hash: HASH, budgets: [{amount: 1, thresholds: [{percent: 80, model: llama}]}]}]",
            "keys[0].budgets[0].thresholds[0].model",
            "action: degrade",
        ),
        (
            "keys: [{name: k, hash: HASH, budgets: [{amount: 1, thresholds: "
            "[{percent: 80, action: degrade, model: lama}]}]}]",
            "keys[0].budgets[0].thresholds[0].model",
            "did you mean llama?",
        ),
        (
            "keys: [{name: k, hash: HASH, model_limits: [{model: nope, limits: [{most: 1}]}]}]",
            "keys[0].model_limits[0].model",
            "no model of this file",
        ),
    ],
)
def test_a_mistake_is_told_where_it_stands(text: str, path: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(f"{text}\n{MODEL}")
    (problem,) = caught.value.problems
    assert (problem.path, words in problem.message) == (path, True), problem.message


def test_more_limits_than_a_request_can_be_measured_by_are_refused() -> None:
    limits = ", ".join(f"{{most: 9, window: {number}}}" for number in range(1, 18))
    with pytest.raises(SettingsError, match="at most 32 and 8 can hold"):
        read(
            f"tenants: [{{name: a, limits: [{limits}]}}]\n"
            f"keys: [{{name: k, hash: HASH, tenant: a, limits: [{limits}]}}]\n{MODEL}"
        )
    budgets = ", ".join(f"{{name: b{number}, amount: 1}}" for number in range(5))
    with pytest.raises(SettingsError, match="at most 8 can hold"):
        read(
            f"tenants: [{{name: a, budgets: [{budgets}]}}]\n"
            f"keys: [{{name: k, hash: HASH, tenant: a, budgets: [{budgets}]}}]\n{MODEL}"
        )
