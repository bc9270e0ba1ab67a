"""All policies of a snapshot, compiled so that a question costs the same whatever its rules are.

Owns the meaning of rules together: a request may go to a tier when no `deny` holds for it there and, where the default
is `deny`, some `allow` does. A set of rules is a number with a bit for each, the first rule lowest, so that what a
thousand rules make of one attribute is one look-up and one AND (bit vectors of packet classifiers: Lakshman and
Stiliadis, SIGCOMM 1998). Immutable but for what was looked up before; one loop, no locking.

`reading` is the plain twin that tests compare this with.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

from fastpath.policy.names import Names
from fastpath.policy.networks import Networks
from fastpath.policy.question import CLASSES, TIERS, Question, Verdict
from fastpath.policy.timetable import Timetable
from fastpath.settings import Conditions, Policy, Settings, Tenant
from fastpath.settings.policies import Effect

T = TypeVar("T")


class Rulebook:
    """Judges requests by policies, in the order of the file."""

    def __init__(self, policies: Sequence[Policy], default: Effect, tenants: Sequence[Tenant] = ()) -> None:
        self._teams = {(tenant.name, user.name): user.team for tenant in tenants for user in tenant.users}
        rules = in_force(policies)
        self._names = [rule.name for rule in rules]
        self._lenient = default == "allow"
        self._denies = _mask(rules, lambda rule: rule.effect == "deny")
        self._exceptions = _mask(rules, lambda rule: rule.unless is not None)
        self._when = Matcher(rules)
        self._unless = Matcher([rule.unless or Conditions() for rule in rules])

    def judge(self, question: Question, tiers: int) -> Verdict:
        """What a request may do, of the tiers that it could go to (not none)."""
        held = self._when.hold(question, -1)
        excepted = self._exceptions & held
        if excepted:
            excepted = self._unless.hold(question, excepted)
        if not held:
            return Verdict(tiers if self._lenient else 0)
        return self._decide(held, excepted, tiers)

    def team_of(self, tenant: str | None, user: str | None) -> str | None:
        """The team of a tenant's user, None when it has none."""
        return self._teams.get((tenant, user)) if tenant is not None and user is not None else None

    def _decide(self, held: int, excepted: int, tiers: int) -> Verdict:
        passed = denied = allowed = 0
        for tier, bit in TIERS.items():
            if not tiers & bit:
                continue
            hit = held & self._when.tiers[tier]
            hit &= ~(excepted & self._unless.tiers[tier])
            against = hit & self._denies
            if against:
                denied |= against
            elif hit or self._lenient:
                passed |= bit
                allowed |= hit
        # What was allowed needed no rule where the default allows.
        return Verdict(passed, self._first(denied) or (None if self._lenient else self._first(allowed)))

    def _first(self, rules: int) -> str | None:
        return self._names[(rules & -rules).bit_length() - 1] if rules else None


class Matcher:
    """The conditions of all rules. `tiers`: the rules that hold for an endpoint of a tier, as far as tiers go."""

    def __init__(self, rules: Sequence[Conditions]) -> None:
        self._free_subjects = _mask(rules, lambda rule: rule.subjects is None)
        self._keys, self._users, self._teams = (
            Names(_of_kind(kind, _pairs(rules, lambda rule: rule.subjects))) for kind in ("key", "user", "team")
        )
        self._free_tenants = _mask(rules, lambda rule: rule.tenants is None)
        self._tenants = Names(_pairs(rules, lambda rule: rule.tenants))
        self._free_models = _mask(rules, lambda rule: rule.models is None)
        self._models = Names(_pairs(rules, lambda rule: rule.models))
        self._free_paths = _mask(rules, lambda rule: rule.paths is None)
        self._paths = Names(_pairs(rules, lambda rule: rule.paths))
        self._classes = {name: _open_to(rules, name, lambda rule: rule.classes) for name in CLASSES}
        self.tiers = {name: _open_to(rules, name, lambda rule: rule.tiers) for name in TIERS}
        self._free_networks = _mask(rules, lambda rule: rule.networks is None)
        self._networks = Networks(_pairs(rules, lambda rule: rule.networks))
        self._free_times = _mask(rules, lambda rule: rule.times is None)
        self._times = Timetable(_pairs(rules, lambda rule: rule.times))

    def hold(self, question: Question, among: int) -> int:
        """The rules among these (-1: all) whose conditions hold, but for their tiers."""
        held = among & self._classes[question.data_class]
        held &= self._free_models | self._models.of(question.model)
        held &= self._free_paths | self._paths.of(question.path)
        tenants, subjects = self._free_tenants, self._free_subjects
        if question.tenant is not None:
            tenants |= self._tenants.of(question.tenant)
        held &= tenants
        for key in question.keys:
            subjects |= self._keys.of(key)
        if question.user is not None:
            subjects |= self._users.of(question.user)
        if question.team is not None:
            subjects |= self._teams.of(question.team)
        held &= subjects
        if held & ~self._free_networks:
            held &= self._free_networks | self._networks.of(question.address)
        if held & ~self._free_times:
            held &= self._free_times | self._times.of(question.at)
        return held


def compile_rulebook(settings: Settings) -> Rulebook | None:
    """The rulebook of settings; None when nothing is ruled."""
    if not settings.policies and settings.policy_default == "allow":
        return None
    return Rulebook(settings.policies, settings.policy_default, settings.tenants)


def in_force(policies: Sequence[Policy]) -> list[Policy]:
    """Policies as they hold: a tenant's own for that tenant alone, and none of those may allow."""
    return [
        replace(policy, tenants=(policy.owner,)) if policy.owner is not None else policy
        for policy in policies
        if policy.owner is None or policy.effect == "deny"
    ]


def _mask(rules: Sequence[T], true: Callable[[T], bool]) -> int:
    return sum(1 << place for place, rule in enumerate(rules) if true(rule))


def _pairs(rules: Sequence[Conditions], values: Callable[[Conditions], Sequence[T] | None]) -> Iterator[tuple[T, int]]:
    for place, rule in enumerate(rules):
        for value in values(rule) or ():
            yield value, 1 << place


def _open_to(rules: Sequence[Conditions], value: str, values: Callable[[Conditions], Sequence[str] | None]) -> int:
    """The rules that name a value, or none at all."""
    return _mask(rules, lambda rule: (wanted := values(rule)) is None or value in wanted)


def _of_kind(kind: str, subjects: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """The names of one kind of subjects."""
    for subject, rules in subjects:
        found, _, name = subject.partition(":")
        if found == kind:
            yield name, rules
