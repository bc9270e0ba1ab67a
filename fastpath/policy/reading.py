"""Policies read one by one, as a person would: the plain twin of `rulebook`, and what explains a verdict.

Owns the meaning of a single rule in words. Slow on purpose and without an index: tests compare both. Pure.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from zoneinfo import ZoneInfo

import msgspec

from fastpath.policy.networks import pack, unmapped
from fastpath.policy.question import TIERS, Question, Verdict
from fastpath.policy.rulebook import in_force
from fastpath.policy.timetable import opening_of, shown_at
from fastpath.settings import Conditions, Policy
from fastpath.settings.policies import Effect
from fastpath.settings.policy_rules import matcher


class Finding(msgspec.Struct, frozen=True):
    """What one rule says about one request and tier. fails: the condition that does not hold; "" when all do."""

    policy: Policy
    tier: str
    fails: str = ""

    @property
    def holds(self) -> bool:
        return not self.fails


def read_all(policies: Sequence[Policy], question: Question, tiers: int) -> Iterator[Finding]:
    """Every rule against every tier, in the order of the file."""
    for policy in in_force(policies):
        for tier, bit in TIERS.items():
            if tiers & bit:
                yield Finding(policy, tier, _why_not(policy, question, tier))


def judge(policies: Sequence[Policy], default: Effect, question: Question, tiers: int) -> Verdict:
    """As `Rulebook.judge`."""
    findings = [finding for finding in read_all(policies, question, tiers) if finding.holds]
    denied = {finding.tier for finding in findings if finding.policy.effect == "deny"}
    allowed = {finding.tier for finding in findings if finding.policy.effect == "allow"}
    passed = [tier for tier, bit in TIERS.items() if tiers & bit and tier not in denied]
    if default == "deny":
        passed = [tier for tier in passed if tier in allowed]
    names = [finding.policy.name for finding in findings if finding.policy.effect == "deny"]
    if not names and default == "deny":
        names = [finding.policy.name for finding in findings if finding.tier in passed]
    return Verdict(sum(TIERS[tier] for tier in passed), names[0] if names else None)


def _why_not(policy: Policy, question: Question, tier: str) -> str:
    failed = next(_failures(policy, question, tier), "")
    if not failed and policy.unless is not None and not any(_failures(policy.unless, question, tier)):
        return "unless"
    return failed


def _failures(conditions: Conditions, question: Question, tier: str) -> Iterator[str]:
    """Names of the conditions that do not hold."""
    if conditions.subjects is not None and not _names_one(conditions.subjects, _subjects_of(question)):
        yield "subjects"
    if conditions.tenants is not None and not _names(conditions.tenants, question.tenant):
        yield "tenants"
    for name, value in (("models", question.model), ("paths", question.path)):
        wanted = getattr(conditions, name)
        if wanted is not None and not _names(wanted, value):
            yield name
    if conditions.tiers is not None and tier not in conditions.tiers:
        yield "tiers"
    if conditions.classes is not None and question.data_class not in conditions.classes:
        yield "classes"
    if conditions.networks is not None and not _within(conditions.networks, question.address):
        yield "networks"
    if conditions.times is not None and not any(
        opening_of(window).is_open(shown_at(question.at, ZoneInfo(window.time_zone))) for window in conditions.times
    ):
        yield "times"


def _subjects_of(question: Question) -> list[tuple[str, str]]:
    """Kind and name of everything that the request stands for."""
    named = (("key", question.key), ("user", question.user), ("team", question.team))
    return [(kind, name) for kind, name in named if name is not None]


def _names_one(subjects: Sequence[str], asked: Sequence[tuple[str, str]]) -> bool:
    wanted = [subject.partition(":")[::2] for subject in subjects]
    return any(kind == one and matcher(pattern)(name) for kind, pattern in wanted for one, name in asked)


def _names(patterns: Sequence[str], name: str | None) -> bool:
    return name is not None and any(matcher(pattern)(name) for pattern in patterns)


def _within(networks: Sequence[str], address: str) -> bool:
    packed = pack(address)
    return packed is not None and any(ip_address(packed) in unmapped(ip_network(network)) for network in networks)
