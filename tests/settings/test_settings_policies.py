"""Policies in the settings file: what is taken, what is refused where, and what is only odd."""

import textwrap

import pytest

from fastpath.settings import Conditions, Policy, Settings, TimeWindow, decode_settings, encode_settings
from fastpath.settings.file import check_policy, load, read_policy, validate
from fastpath.settings.policy_warnings import find_policy_warnings
from fastpath.settings.problem import SettingsError

HASH = f"b2:01234567:{'ab' * 32}"
BASE = f"""
data_class: P2
models:
  - {{name: llama, endpoints: [{{url: "http://127.0.0.1:9001/v1", tier: L1}}]}}
  - {{name: gpt-5, endpoints: [{{url: "http://127.0.0.1:9002/v1"}}]}}
tenants: [{{name: acme, teams: [{{name: core}}], users: [{{name: ann, team: core}}]}}]
keys: [{{name: laptop, hash: "{HASH}", tenant: acme, user: ann}}]
"""

FULL = """
policy_default: deny
policies:
  - name: everybody-local
    effect: allow
    models: [llama]
  - name: core-in-the-cloud
    effect: allow
    subjects: ["team:core", "key:lap*"]
    tenants: [acme]
    models: [gpt-*]
    tiers: [L2]
    classes: [P2]
    paths: [/v1/chat/completions, /v1/images/*]
    networks: [10.0.0.0/8, "fd00::/8"]
    times:
      - {days: [mon, tue, wed, thu, fri], start: 09:00, end: 17:30, time_zone: Europe/Berlin}
      - {first_day: 2026-12-24, last_day: 2026-12-31, start: 22:00, end: 06:00}
    unless: {subjects: ["user:ann"], networks: [10.9.0.0/16]}
"""


def read(text: str, base: str = BASE) -> Settings:
    return load(base + textwrap.dedent(text), {})


def test_a_whole_policy_loads_and_crosses_the_pipe() -> None:
    settings = read(FULL)
    assert decode_settings(encode_settings(settings)) == settings
    assert validate(settings) == settings
    policy = settings.policies[1]
    assert policy.times is not None
    assert policy.times[0].end == "17:30"
    assert policy.times[1].first_day == "2026-12-24"
    assert policy.unless is not None
    assert policy.unless.networks == ("10.9.0.0/16",)


@pytest.mark.parametrize(
    ("policy", "path", "words"),
    [
        ("{effect: deny}", "name", "is missing"),
        ("{name: a}", "effect", "is missing"),
        ("{name: a, effect: forbid}", "effect", "must be allow or deny"),
        ("{name: a, effect: deny, models: []}", "models", "must not be empty"),
        ("{name: a, effect: deny, models: [lama]}", "models[0]", "did you mean llama"),
        ("{name: a, effect: deny, models: [x*]}", "models[0]", "no model of this file"),
        ("{name: a, effect: deny, models: ['*']}", "models[0]", "leave the list out"),
        ("{name: a, effect: deny, models: [g*t]}", "models[0]", "at its beginning or at its end"),
        ("{name: a, effect: deny, tenants: [acne]}", "tenants[0]", "did you mean acme"),
        ("{name: a, effect: deny, unless: {tenants: [b]}}", "unless.tenants[0]", "no tenant of this file"),
        ("{name: a, effect: deny, subjects: [ann]}", "subjects[0]", "must begin with key:, user: or team:"),
        ("{name: a, effect: deny, subjects: ['user:laptop']}", "subjects[0]", "no user of this file"),
        ("{name: a, effect: deny, subjects: ['team:cor']}", "subjects[0]", "did you mean team:core"),
        ("{name: a, effect: deny, tiers: [L3]}", "tiers[0]", "must be L0, L1 or L2"),
        ("{name: a, effect: deny, classes: [P3]}", "classes[0]", "must be P0, P1 or P2"),
        ("{name: a, effect: deny, paths: [/v2]}", "paths[0]", "must be an API path"),
        ("{name: a, effect: deny, networks: [10.0.0.1/8]}", "networks[0]", "has bits set"),
        ("{name: a, effect: deny, times: [{}]}", "times[0]", "is always"),
        ("{name: a, effect: deny, times: [{time_zone: UTC}]}", "times[0]", "is always"),
        ("{name: a, effect: deny, times: [{start: 09:00, end: 09:00}]}", "times[0].end", "nothing is between"),
        ("{name: a, effect: deny, times: [{end: 00:00}]}", "times[0].end", "nothing is between"),
        ("{name: a, effect: deny, times: [{start: 24:00}]}", "times[0].start", "before 24:00"),
        ("{name: a, effect: deny, times: [{start: 9:00}]}", "times[0].start", "such as 09:30"),
        ("{name: a, effect: deny, times: [{first_day: 2026-02-30}]}", "times[0].first_day", "must be a date"),
        ("{name: a, effect: deny, times: [{first_day: 20261224}]}", "times[0].first_day", "must be text"),
        (
            "{name: a, effect: deny, times: [{first_day: 2026-12-24, last_day: 2026-12-23}]}",
            "times[0].last_day",
            "before first_day",
        ),
        (
            "{name: a, effect: deny, times: [{days: [sat], first_day: 2026-11-23, last_day: 2026-11-27}]}",
            "times[0].days",
            "none of those",
        ),
        ("{name: a, effect: deny, times: [{start: 09:00, time_zone: Mars/Base}]}", "times[0].time_zone", "time zone"),
        ("{name: a, effect: deny, unless: {}}", "unless", "excepts everything"),
        ("{name: a, effect: allow, models: [llama]}", "effect", "allows what is allowed anyway"),
        ("{name: a, effect: allow, subjects: ['user:ann']}", "subjects[0]", "add `tenants`"),
        ("{name: a, effect: allow, owner: acme}", "effect", "a tenant's own rules can only take away"),
    ],
)
def test_mistakes_are_told_where_they_stand(policy: str, path: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(f"policies: [{policy}]")
    found = {problem.path: problem for problem in caught.value.problems}
    assert f"policies[0].{path}" in found, caught.value
    problem = found[f"policies[0].{path}"]
    assert words in problem.message
    assert problem.line > 0


@pytest.mark.parametrize(
    "policy",
    [
        Policy(name="a", effect="deny", unless=Conditions()),
        Policy(name="a", effect="deny", times=(TimeWindow(),)),
        Policy(name="a", effect="deny", models=()),
        Policy(name="a b", effect="deny"),
    ],
)
def test_rules_made_in_python_are_judged_alike(policy: Policy) -> None:
    assert check_policy(policy)
    with pytest.raises(SettingsError):
        validate(Settings(policies=(policy,)))


def test_one_rule_is_read_from_a_file_of_its_own() -> None:
    assert read_policy("{name: a, effect: deny, tiers: [L2]}", "rule.yaml") == Policy(
        name="a", effect="deny", tiers=("L2",)
    )
    for text, words in (("", "is empty"), ("- a", "must be a mapping"), ("{name: a", "not valid YAML")):
        with pytest.raises(SettingsError, match=words):
            read_policy(text, "rule.yaml")


def test_names_are_unique() -> None:
    with pytest.raises(SettingsError, match=r"policies\[1\].name: is the same as policies\[0\].name"):
        read("policies: [{name: a, effect: deny}, {name: a, effect: deny}]")


def test_a_control_plane_may_know_more_tenants_and_keys_but_not_models() -> None:
    more = "control: {}\npolicies: [{name: a, effect: deny, tenants: [b], subjects: ['key:b/*'], models: [MODEL]}]"
    assert read(more.replace("MODEL", "llama")).policies
    with pytest.raises(SettingsError, match="no model of this file"):
        read(more.replace("MODEL", "mixtral"))


def test_where_any_model_may_be_named_any_may_be_ruled() -> None:
    base = 'models: [{name: "*", endpoints: [{url: "http://127.0.0.1:9001/v1"}]}]\n'
    assert read("policies: [{name: a, effect: deny, models: [whatever]}]", base).policies


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("policy_default: deny", "policy_default", "every request is refused"),
        ("policies: [{name: a, effect: deny}]", "policies[0]", "every request is refused"),
        (
            "policies: [{name: d, effect: deny, tenants: [a*]}, "
            "{name: a, effect: allow, tenants: [acme], models: [llama]}]\npolicy_default: deny",
            "policies[1]",
            "policies[0] denies everything that it allows",
        ),
        (
            "policies: [{name: a, effect: allow, networks: [10.1.0.0/16]}, "
            "{name: d, effect: deny, networks: [10.0.0.0/8]}]\npolicy_default: deny",
            "policies[0]",
            "policies[1] denies everything",
        ),
    ],
)
def test_what_is_odd_is_told_and_taken(text: str, path: str, words: str) -> None:
    (warning,) = find_policy_warnings(read(text))
    assert warning.path == path
    assert words in warning.message


@pytest.mark.parametrize(
    "text",
    [
        FULL,
        "policies: [{name: a, effect: deny, unless: {models: [llama]}}]",
        "policies: [{name: d, effect: deny, models: [llama]}, {name: a, effect: allow}]\npolicy_default: deny",
        "policies: [{name: d, effect: deny, unless: {tiers: [L1]}}, {name: a, effect: allow, tiers: [L1]}]\n"
        "policy_default: deny",
        "policies: [{name: d, effect: deny, models: ['*-5']}, {name: a, effect: allow, models: [gpt-*]}]\n"
        "policy_default: deny",
    ],
)
def test_a_rule_that_takes_a_part_of_another_is_not_odd(text: str) -> None:
    assert find_policy_warnings(read(text)) == []
