"""What rules make of a request, case by case: written by hand, as documentation of what everybody may rely on."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from fastpath.policy.question import EVERY_TIER, TIERS, Question
from fastpath.policy.reading import judge
from fastpath.policy.rulebook import Rulebook, compile_rulebook
from fastpath.policy.stage import ask
from fastpath.settings import Key, Policy, Settings, Tenant, User
from fastpath.settings.policies import Effect

#: Monday, 2026-11-23, 10:30 in Berlin and 09:30 in London.
MONDAY = 1_795_426_200.0
ANN: dict[str, Any] = {
    "model": "llama",
    "path": "/v1/chat/completions",
    "data_class": "P2",
    "at": MONDAY,
    "key": "laptop",
    "user": "ann",
    "team": "core",
    "tenant": "acme",
    "address": "10.1.2.3",
}
NOBODY = {"key": None, "user": None, "team": None, "tenant": None}


def policies_of(*rules: dict[str, Any]) -> list[Policy]:
    """`{"deny": "name", ...}` or `{"allow": "name", ...}` with the conditions."""
    made = []
    for rule in rules:
        effect = "deny" if "deny" in rule else "allow"
        plain = {name: value for name, value in rule.items() if name != effect}
        made.append(msgspec.convert({"name": rule[effect], "effect": effect, **plain}, Policy))
    return made


def verdict_of(default: Effect, rules: list[dict[str, Any]], asked: dict[str, Any]) -> tuple[str, str | None]:
    """The tiers that are left, "0", "1" and "2", and the rule that is named. The twin must say the same."""
    policies, question = policies_of(*rules), Question(**(ANN | asked))
    found = Rulebook(policies, default).judge(question, EVERY_TIER)
    assert found == judge(policies, default, question, EVERY_TIER)
    return "".join(tier[1] for tier, bit in TIERS.items() if found.tiers & bit), found.rule


ALL, NONE = "012", ""
BERLIN = {"time_zone": "Europe/Berlin"}
OFFICE = {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:00", **BERLIN}

CASES: list[tuple[str, Effect, list[dict[str, Any]], dict[str, Any], str, str | None]] = [
    ("no rule, default allow", "allow", [], {}, ALL, None),
    ("no rule, default deny", "deny", [], {}, NONE, None),
    ("a deny that holds", "allow", [{"deny": "d", "models": ["llama"]}], {}, NONE, "d"),
    ("a deny that does not", "allow", [{"deny": "d", "models": ["other"]}], {}, ALL, None),
    ("an allow that holds, default deny", "deny", [{"allow": "a", "models": ["llama"]}], {}, ALL, "a"),
    ("an allow that does not, default deny", "deny", [{"allow": "a", "models": ["other"]}], {}, NONE, None),
    ("an allow takes nothing, default allow", "allow", [{"allow": "a", "models": ["other"]}], {}, ALL, None),
    ("deny wins over allow", "deny", [{"allow": "a"}, {"deny": "d"}], {}, NONE, "d"),
    ("deny wins in any order", "deny", [{"deny": "d"}, {"allow": "a"}], {}, NONE, "d"),
    ("a narrow allow does not win over a wide deny", "deny",
     [{"deny": "d"}, {"allow": "a", "subjects": ["key:laptop"]}], {}, NONE, "d"),
    ("the first deny is named", "allow", [{"deny": "x", "models": ["o"]}, {"deny": "y"}, {"deny": "z"}], {}, NONE, "y"),
    ("the first allow is named", "deny", [{"allow": "x"}, {"allow": "y"}], {}, ALL, "x"),
    ("no condition holds for everybody", "allow", [{"deny": "d"}], NOBODY | {"address": ""}, NONE, "d"),
    ("conditions hold all at once", "allow", [{"deny": "d", "models": ["llama"], "tenants": ["b"]}], {}, ALL, None),
    ("values are alternatives", "allow", [{"deny": "d", "models": ["x", "llama"]}], {}, NONE, "d"),
    ("by key", "allow", [{"deny": "d", "subjects": ["key:laptop"]}], {}, NONE, "d"),
    ("not by the beginning of a key's name", "allow", [{"deny": "d", "subjects": ["key:laptop"]}],
     {"key": "laptop:0123abcd"}, ALL, None),
    ("by user", "allow", [{"deny": "d", "subjects": ["user:ann"]}], {}, NONE, "d"),
    ("by team", "allow", [{"deny": "d", "subjects": ["team:core"]}], {}, NONE, "d"),
    ("a key of the user's name is not the user", "allow", [{"deny": "d", "subjects": ["user:laptop"]}], {}, ALL, None),
    ("by a pattern of keys", "allow", [{"deny": "d", "subjects": ["key:lap*"]}], {}, NONE, "d"),
    ("by a pattern's end", "allow", [{"deny": "d", "subjects": ["key:*top"]}], {}, NONE, "d"),
    ("a pattern means no other kind", "allow", [{"deny": "d", "subjects": ["team:lap*"]}], {}, ALL, None),
    ("subjects hold never for nobody", "allow", [{"deny": "d", "subjects": ["key:*p"]}], NOBODY, ALL, None),
    ("by tenant", "allow", [{"deny": "d", "tenants": ["acme"]}], {}, NONE, "d"),
    ("a tenant of another name is another", "allow", [{"deny": "d", "tenants": ["acm"]}], {}, ALL, None),
    ("tenants hold never without one", "allow", [{"deny": "d", "tenants": ["a*"]}], NOBODY, ALL, None),
    ("names know letter case", "allow", [{"deny": "d", "models": ["LLAMA"]}], {}, ALL, None),
    ("a model by its beginning", "allow", [{"deny": "d", "models": ["gpt-*"]}], {"model": "gpt-5"}, NONE, "d"),
    ("a beginning alone is one too", "allow", [{"deny": "d", "models": ["gpt-*"]}], {"model": "gpt-"}, NONE, "d"),
    ("a model by its end", "allow", [{"deny": "d", "models": ["*-mini"]}], {"model": "o-mini"}, NONE, "d"),
    ("by path", "allow", [{"deny": "d", "paths": ["/v1/images/*"]}], {"path": "/v1/images/edits"}, NONE, "d"),
    ("by class", "allow", [{"deny": "d", "classes": ["P0", "P1"]}], {"data_class": "P1"}, NONE, "d"),
    ("a tier is taken away", "allow", [{"deny": "d", "tiers": ["L2"]}], {}, "01", "d"),
    ("tiers and class", "allow", [{"deny": "d", "classes": ["P0"], "tiers": ["L2"]}], {"data_class": "P0"}, "01", "d"),
    ("allow of one tier, default deny", "deny", [{"allow": "a", "tiers": ["L1"]}], {}, "1", "a"),
    ("allow of two tiers, deny of one", "deny",
     [{"allow": "a", "tiers": ["L1", "L2"]}, {"deny": "d", "tiers": ["L2"]}], {}, "1", "d"),
    ("rules together take all tiers", "allow",
     [{"deny": "d", "tiers": ["L2"]}, {"deny": "e", "tiers": ["L0", "L1"]}], {}, NONE, "d"),
    ("by network", "allow", [{"deny": "d", "networks": ["10.0.0.0/8"]}], {}, NONE, "d"),
    ("outside of the network", "allow", [{"deny": "d", "networks": ["10.0.0.0/8"]}],
     {"address": "11.0.0.1"}, ALL, None),
    ("IPv6", "allow", [{"deny": "d", "networks": ["fd00::/8"]}], {"address": "fd12::1"}, NONE, "d"),
    ("IPv4 inside IPv6 is IPv4", "allow", [{"deny": "d", "networks": ["10.0.0.0/8"]}],
     {"address": "::ffff:10.9.9.9"}, NONE, "d"),
    ("networks hold never without an address", "allow", [{"deny": "d", "networks": ["0.0.0.0/0"]}],
     {"address": ""}, ALL, None),
    ("only from a network", "allow", [{"deny": "d", "unless": {"networks": ["10.0.0.0/8"]}}], {}, ALL, None),
    ("only from a network, from elsewhere", "allow", [{"deny": "d", "unless": {"networks": ["10.0.0.0/8"]}}],
     {"address": "8.8.8.8"}, NONE, "d"),
    ("an unknown address is no exception", "allow", [{"deny": "d", "unless": {"networks": ["0.0.0.0/0"]}}],
     {"address": ""}, NONE, "d"),
    ("exceptions hold all at once", "allow",
     [{"deny": "d", "unless": {"networks": ["10.0.0.0/8"], "subjects": ["user:bob"]}}], {}, NONE, "d"),
    ("an exception of tiers", "allow", [{"deny": "d", "unless": {"tiers": ["L0", "L1"]}}], {}, "01", "d"),
    ("an exception of an allow", "deny", [{"allow": "a", "unless": {"models": ["llama"]}}], {}, NONE, None),
    ("in office hours", "allow", [{"deny": "d", "times": [OFFICE]}], {}, NONE, "d"),
    ("in another zone's office hours", "allow",
     [{"deny": "d", "times": [OFFICE | {"start": "10:00", "time_zone": "Europe/London"}]}], {}, ALL, None),
    ("not on this weekday", "allow", [{"deny": "d", "times": [{"days": ["sun", "tue"]}]}], {}, ALL, None),
    ("one of several windows", "allow",
     [{"deny": "d", "times": [{"days": ["sun"]}, {"start": "10:30", "end": "10:31", **BERLIN}]}], {}, NONE, "d"),
    ("between dates", "allow", [{"deny": "d", "times": [{"first_day": "2026-11-23", "last_day": "2026-11-23"}]}],
     {}, NONE, "d"),
    ("after the last date", "allow", [{"deny": "d", "times": [{"last_day": "2026-11-22"}]}], {}, ALL, None),
    ("a tenant's own rule holds for it", "allow", [{"deny": "d", "owner": "acme"}], {}, NONE, "d"),
    ("and for no other", "allow", [{"deny": "d", "owner": "acme"}], {"tenant": "umbrella"}, ALL, None),
    ("whatever tenants it names", "allow", [{"deny": "d", "owner": "acme", "tenants": ["umbrella"]}],
     {"tenant": "umbrella"}, ALL, None),
    ("and never allows", "deny", [{"allow": "a", "owner": "acme"}], {}, NONE, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("default", "rules", "asked", "left", "rule"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_case(default: Effect, rules: list[dict[str, Any]], asked: dict[str, Any], left: str, rule: str | None) -> None:
    assert verdict_of(default, rules, asked) == (left, rule)


def test_the_table_is_as_long_as_it_must_be() -> None:
    assert len(CASES) >= 40
    assert len({case[0] for case in CASES}) == len(CASES)


def test_only_tiers_that_were_asked_for_count() -> None:
    book = Rulebook(policies_of({"deny": "d", "tiers": ["L2"]}), "allow")
    question = Question(**ANN)
    assert book.judge(question, TIERS["L1"]) == judge(policies_of({"deny": "d", "tiers": ["L2"]}), "allow", question, 2)
    assert book.judge(question, TIERS["L1"]).rule is None, "a rule that took nothing is not named"
    assert book.judge(question, TIERS["L2"]).tiers == 0


def test_the_caller_of_a_token_goes_by_its_whole_name() -> None:
    """A provider may number its users with 8 hex digits: its name alone is a key's, and what that may is not theirs."""
    record = SimpleNamespace(model="llama", data_class=None, ts=MONDAY, client="")
    token = Key(name="corp:0123abcd", hash="", ids=("acme", "", "", "corp:0123abcd"))
    ctx: Any = SimpleNamespace(key=token, record=record, path=SimpleNamespace(template="/v1/embeddings"))
    for subject, left in (("key:corp", 0), ("key:corp:0123abcd", EVERY_TIER), ("key:corp:*", EVERY_TIER)):
        book = Rulebook(policies_of({"allow": "a", "subjects": [subject]}), "deny")
        assert book.judge(ask(ctx, book, token), EVERY_TIER).tiers == left, subject


def test_the_team_of_a_key_is_its_users_where_it_has_none() -> None:
    acme = Tenant(name="acme", users=(User(name="ann", team="core"), User(name="bob")))
    book = Rulebook((), "deny", (acme,))
    assert [book.team_of(tenant, user) for tenant, user in (("acme", "ann"), ("acme", "bob"), ("b", "ann"))] == [
        "core",
        None,
        None,
    ]
    assert book.team_of(None, None) is None


def test_a_rulebook_is_kept_while_its_rules_stay() -> None:
    rules = tuple(policies_of({"deny": "d", "models": ["x"]}))
    running = compile_rulebook(Settings(policies=rules))
    again = Settings(policies=tuple(policies_of({"deny": "d", "models": ["x"]})), tenants=(Tenant(name="new"),))
    assert compile_rulebook(again, running) is running
    assert compile_rulebook(Settings(policies=rules, policy_default="deny"), running) is not running
    assert compile_rulebook(Settings(policies=(*rules, *rules)), running) is not running
    assert compile_rulebook(Settings(), running) is None
    by_team = tuple(policies_of({"deny": "d", "unless": {"subjects": ["team:core"]}}))
    running = compile_rulebook(Settings(policies=by_team))
    assert compile_rulebook(Settings(policies=by_team), running) is running
    assert compile_rulebook(Settings(policies=by_team, tenants=(Tenant(name="new"),)), running) is not running


def test_nothing_is_compiled_where_nothing_is_ruled() -> None:
    assert compile_rulebook(Settings()) is None
    assert compile_rulebook(Settings(policy_default="deny")) is not None
    assert compile_rulebook(Settings(policies=tuple(policies_of({"deny": "d"})))) is not None
