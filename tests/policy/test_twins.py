"""The compiled rulebook against its plain twin: any rules, any request. And what an answer costs as rules grow."""

import time
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.policy.names import KEPT, Names
from fastpath.policy.question import Question
from fastpath.policy.reading import judge, read_all
from fastpath.policy.rulebook import Rulebook
from fastpath.settings import Policy
from fastpath.settings.policies import DAYS, Effect

NAMES = st.sampled_from(["a", "ab", "abc", "b", "ba", "c"])
PATTERNS = st.one_of(NAMES, NAMES.map(lambda name: f"{name}*"), NAMES.map(lambda name: f"*{name}"))
SUBJECTS = st.tuples(st.sampled_from(["key:", "user:", "team:"]), PATTERNS).map("".join)
NETWORKS = st.sampled_from(
    ["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "::/0", "fd00::/8", "::ffff:10.0.0.0/104", "10.1.2.3", "fd00::1"]
)
ADDRESSES = st.sampled_from(
    ["", "10.1.2.3", "10.2.0.1", "9.9.9.9", "fd00::1", "fd00::1%eth0", "::ffff:10.1.2.3", "x\0"]
)
CLOCKS = st.one_of(st.none(), st.sampled_from(["00:00", "02:30", "09:00", "23:59"]))
DATES = st.one_of(st.none(), st.sampled_from(["2026-03-28", "2026-03-29", "2026-10-25"]))


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.lists(values, min_size=1, max_size=3))


WINDOWS = st.fixed_dictionaries(
    {
        "days": some(st.sampled_from(DAYS)),
        "start": CLOCKS,
        "end": st.one_of(CLOCKS, st.just("24:00")),
        "first_day": DATES,
        "last_day": DATES,
        "time_zone": st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    }
)
CONDITIONS = {
    "subjects": some(SUBJECTS),
    "tenants": some(PATTERNS),
    "models": some(PATTERNS),
    "paths": some(st.sampled_from(["/v1/embeddings", "/v1/images/*", "/v1/images/edits"])),
    "tiers": some(st.sampled_from(["L0", "L1", "L2"])),
    "classes": some(st.sampled_from(["P0", "P1", "P2"])),
    "networks": some(NETWORKS),
    "times": some(WINDOWS),
}
EXCEPTIONS = st.one_of(st.none(), st.fixed_dictionaries(CONDITIONS))
RULES = st.lists(
    st.fixed_dictionaries(
        CONDITIONS
        | {
            "effect": st.sampled_from(["allow", "deny"]),
            "unless": EXCEPTIONS,
            "owner": st.one_of(st.none(), st.none(), NAMES),
        }
    ),
    max_size=8,
)
QUESTIONS = st.fixed_dictionaries(
    {
        "model": NAMES,
        "path": st.sampled_from(["/v1/embeddings", "/v1/images/edits"]),
        "data_class": st.sampled_from(["P0", "P1", "P2"]),
        # around the nights on which clocks in Europe change in 2026
        "at": st.one_of(st.integers(1_774_652_400, 1_774_854_000), st.integers(1_792_796_400, 1_792_998_000)),
        "key": st.none() | NAMES,
        "user": st.one_of(st.none(), NAMES),
        "team": st.one_of(st.none(), NAMES),
        "tenant": st.one_of(st.none(), NAMES),
        "address": ADDRESSES,
    }
)


@settings(max_examples=400)
@given(RULES, st.sampled_from(["allow", "deny"]), st.lists(QUESTIONS, min_size=1, max_size=4), st.integers(1, 7))
def test_both_say_the_same(rules: list[Any], default: Effect, asked: list[Any], tiers: int) -> None:
    policies = [msgspec.convert({"name": f"r{n}", **rule}, Policy) for n, rule in enumerate(rules)]
    book = Rulebook(policies, default)
    for each in asked:
        question = msgspec.convert(each, Question)
        assert book.judge(question, tiers) == judge(policies, default, question, tiers)


@settings(max_examples=100)
@given(RULES, QUESTIONS, st.integers(1, 7))
def test_one_more_deny_never_allows_more(rules: list[Any], asked: Any, tiers: int) -> None:
    """What lets tenants write rules at all."""
    policies = [msgspec.convert({"name": f"r{n}", **rule}, Policy) for n, rule in enumerate(rules)]
    question = msgspec.convert(asked, Question)
    kept = [policy for policy in policies if policy.effect == "allow" or policy.name != "r0"]
    for default in ("allow", "deny"):
        before = Rulebook(kept, default).judge(question, tiers).tiers
        after = Rulebook(policies, default).judge(question, tiers).tiers
        assert after & ~before == 0


def test_a_reading_says_which_condition_fails() -> None:
    policies = [
        Policy(name="a", effect="deny", models=("x",)),
        Policy(name="b", effect="deny", unless=Policy(name="-", effect="deny", classes=("P2",))),
        Policy(name="c", effect="deny"),
    ]
    question = Question(model="llama", path="/v1/embeddings", data_class="P2", at=0.0)
    assert [finding.fails for finding in read_all(policies, question, 2)] == ["models", "unless", ""]


def test_names_that_callers_invent_are_not_kept_for_ever() -> None:
    names = Names([("a*", 1), ("b", 2)])
    assert sum(names.of(f"a{n}") for n in range(3 * KEPT)) == 3 * KEPT
    assert len(names._kept) <= KEPT
    assert (names.of("b"), names.of("c")) == (2, 0)


# -- what it costs


def many(count: int) -> list[Policy]:
    """Rules of every kind: a third for somebody, a third for a model, a third for everybody."""
    made = []
    for n in range(count):
        more: dict[str, Any] = [
            {"subjects": [f"key:k{n}", f"team:t{n % 7}*"], "tenants": [f"tenant{n}"]},
            {"models": [f"model-{n}", f"m{n}*"], "classes": ["P0"], "unless": {"subjects": [f"user:u{n}"]}},
            {"networks": [f"10.{n % 250}.{n // 250}.0/24"], "times": [{"start": f"{n % 23:02}:00", "end": "23:30"}]},
        ][n % 3]
        made.append(msgspec.convert({"name": f"r{n}", "effect": ("deny", "allow")[n % 2], **more}, Policy))
    return made


def cost(count: int) -> float:
    """Seconds per question, the best of many turns: noise only ever adds. New minutes and known names."""
    book = Rulebook(many(count), "deny")
    asked = [
        Question(
            model=f"model-{n}", path="/v1/embeddings", data_class="P0", at=1.8e9 + n, key=f"k{n}",
            user=f"u{n}", team="t3x", tenant=f"tenant{n}", address="10.3.0.9",
        )
        for n in range(50)
    ]  # fmt: skip
    best = float("inf")
    for _ in range(60):
        began = time.perf_counter()
        for question in asked:
            book.judge(question, 7)
        best = min(best, (time.perf_counter() - began) / len(asked))
    return best


def test_a_thousand_rules_cost_little_more_than_ten() -> None:
    few, thousand = cost(10), cost(1000)
    assert thousand < 6 * few, f"{few * 1e6:.1f} us with 10 rules, {thousand * 1e6:.1f} us with 1,000"
