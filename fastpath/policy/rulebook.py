"""All policies of a snapshot, compiled so that a question costs the same whatever its rules are.

Owns the meaning of rules together: a request may go to a tier when no `deny` holds for it there and, where the default
is `deny`, some `allow` does. A set of rules is a number with a bit for each, the first rule lowest, so that what a
thousand rules make of one attribute is one look-up and one AND (bit vectors of packet classifiers: Lakshman and
Stiliadis, SIGCOMM 1998). Immutable but for what was looked up before; one loop, no locking.

`reading` is the plain twin that tests compare this with.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from msgspec.structs import replace

from fastpath.policy.names import Names
from fastpath.policy.networks import Networks
from fastpath.policy.question import CLASSES, TIERS, Question, Verdict
from fastpath.policy.timetable import Timetable
from fastpath.settings import Conditions, Policy, Settings, Tenant
from fastpath.settings.policies import Effect

_FIELDS: Final = Conditions.__struct_fields__


class Rulebook:
    """Judges requests by policies, in the order of the file."""

    def __init__(self, policies: Sequence[Policy], default: Effect, tenants: Sequence[Tenant] = ()) -> None:
        self._source = policies, default
        self._tenants = tenants
        self._teams: dict[str, dict[str, str | None]] | None = None
        rules = [(1 << place, rule) for place, rule in enumerate(in_force(policies))]
        self._names = [rule.name for _, rule in rules]
        self._lenient = default == "allow"
        self._denies = sum(bit for bit, rule in rules if rule.effect == "deny")
        self._exceptions = sum(bit for bit, rule in rules if rule.unless is not None)
        self._when = Matcher(rules)
        self._unless = Matcher((bit, rule.unless) for bit, rule in rules if rule.unless is not None)

    def is_of(self, settings: Settings) -> bool:
        """Whether these settings would make the same rulebook."""
        if self._source != (settings.policies, settings.policy_default):
            return False
        asks_teams = self._when.asks_teams or self._unless.asks_teams
        return not asks_teams or self._tenants == settings.tenants

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
        if tenant is None or user is None:
            return None
        if self._teams is None:  # keys of the control plane name their team, so this is for the file's alone
            self._teams = {one.name: {each.name: each.team for each in one.users} for one in self._tenants}
        return self._teams.get(tenant, {}).get(user)

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
    """Conditions of rules, each with its bit. `tiers`: the rules that hold for a tier, as far as tiers go."""

    def __init__(self, rules: Iterable[tuple[int, Conditions]]) -> None:
        free = dict.fromkeys(_FIELDS, 0)  # the rules that leave it out
        listed: dict[str, list[tuple[Any, int]]] = {field: [] for field in _FIELDS}
        for bit, rule in rules:
            for field in _FIELDS:
                values = getattr(rule, field)
                if values is None:
                    free[field] |= bit
                else:
                    listed[field] += [(value, bit) for value in values]
        self._free_subjects, self._free_tenants = free["subjects"], free["tenants"]
        self._free_models, self._free_paths = free["models"], free["paths"]
        self._free_networks, self._free_times = free["networks"], free["times"]
        self._keys, self._users, self._teams = (
            Names(_of_kind(kind, listed["subjects"])) for kind in ("key", "user", "team")
        )
        self.asks_teams = any(subject.startswith("team:") for subject, _ in listed["subjects"])
        self._tenants, self._models = Names(listed["tenants"]), Names(listed["models"])
        self._paths = Names(listed["paths"])
        self._networks, self._times = Networks(listed["networks"]), Timetable(listed["times"])
        self._classes = {name: _open_to(name, free["classes"], listed["classes"]) for name in CLASSES}
        self.tiers = {name: _open_to(name, free["tiers"], listed["tiers"]) for name in TIERS}

    def hold(self, question: Question, among: int) -> int:
        """The rules among these (-1: all) whose conditions hold, but for their tiers."""
        held = among & self._classes[question.data_class]
        held &= self._free_models | self._models.of(question.model)
        held &= self._free_paths | self._paths.of(question.path)
        tenants, subjects = self._free_tenants, self._free_subjects
        if question.tenant is not None:
            tenants |= self._tenants.of(question.tenant)
        held &= tenants
        if question.key is not None:
            subjects |= self._keys.of(question.key)
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


def compile_rulebook(settings: Settings, running: Rulebook | None = None) -> Rulebook | None:
    """The rulebook of settings; None when nothing is ruled.

    running: the one in use, which stays where it fits. A thousand rules cost 10 ms to compile and 0.3 ms to compare,
    and a loop that takes a new key must not stand still for them.
    """
    if not settings.policies and settings.policy_default == "allow":
        return None
    if running is not None and running.is_of(settings):
        return running
    return Rulebook(settings.policies, settings.policy_default, settings.tenants)


def in_force(policies: Sequence[Policy]) -> list[Policy]:
    """Policies as they hold: a tenant's own for that tenant alone, and none of those may allow."""
    return [
        replace(policy, tenants=(policy.owner,)) if policy.owner is not None else policy
        for policy in policies
        if policy.owner is None or policy.effect == "deny"
    ]


def _open_to(value: str, free: int, listed: Sequence[tuple[str, int]]) -> int:
    """The rules that name a value, or none at all."""
    for named, rule in listed:
        if named == value:
            free |= rule
    return free


def _of_kind(kind: str, subjects: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """The names of one kind of subjects."""
    for subject, rules in subjects:
        found, _, name = subject.partition(":")
        if found == kind:
            yield name, rules
