"""What policies must be, alone and together with the rest of the file. Rules as those of `rules`: (path, sentence).

Pure. Does not know lines or types. What is odd but may be meant is in `policy_warnings`.
"""

from collections.abc import Callable, Iterator, Set
from datetime import date, timedelta
from typing import Any

from fastpath.settings.findings import Finding, Values, find_repeats_in, items_of, suggest
from fastpath.settings.policies import DAYS
from fastpath.settings.problem import Path

_WEEK = len(DAYS)


def find_policy_conflicts(values: Values, hidden: Set[Path]) -> Iterator[Finding]:
    """Everything that the rules find. Values at `hidden` paths are never shown."""
    policies = list(items_of(values, ("policies",)))
    yield from find_repeats_in(policies, "name")
    for path, policy in policies:
        yield from find_policy_faults(policy, path)
        lenient = values.get("policy_default", "allow") == "allow"
        if lenient and policy.get("effect") == "allow" and policy.get("owner") is None:
            message = (
                "allows what is allowed anyway, and takes nothing from anybody: set policy_default to deny, or turn "
                "the rule into a deny with `unless`"
            )
            yield (*path, "effect"), message
        for place, conditions in _conditions(policy, path):
            yield from _find_strangers(values, place, conditions, hidden)


def find_policy_faults(policy: Values, path: Path = ()) -> Iterator[Finding]:
    """What is wrong with one policy, whatever else the file says."""
    for place, conditions in _conditions(policy, path):
        for at, window in items_of(conditions, (*place, "times")):
            yield from _judge_window(at, window)
    if isinstance(exceptions := policy.get("unless"), dict) and not any(exceptions.values()):
        yield (*path, "unless"), "excepts everything, so that the rule never holds: name conditions, or remove it"
    if policy.get("effect") == "allow" and policy.get("tenants") is None:
        for i, subject in enumerate(policy.get("subjects") or []):
            if isinstance(subject, str) and not subject.startswith("key:"):
                message = (
                    "allows every tenant's user or team of that name, which tenants choose themselves: add `tenants`"
                )
                yield (*path, "subjects", i), message
    if policy.get("owner") is not None and policy.get("effect") == "allow":
        yield (*path, "effect"), "must be deny: a tenant's own rules can only take away"


def _conditions(policy: Values, path: Path) -> Iterator[tuple[Path, Values]]:
    """A policy's own conditions and its exceptions, each with their path."""
    yield path, policy
    if isinstance(policy.get("unless"), dict):
        yield (*path, "unless"), policy["unless"]


# -- times


def _judge_window(path: Path, window: Values) -> Iterator[Finding]:
    start, end = window.get("start"), window.get("end")
    if all(value is None for name, value in window.items() if name != "time_zone"):
        yield path, "is always: say days, hours or dates, or remove it"
    if start == "24:00":
        yield (*path, "start"), "must be before 24:00: that is 00:00 of the next day"
    elif (start or "00:00") == end:
        yield (*path, "end"), "is its start, so nothing is between them: leave both out for the whole day"
    first, last = _date_of(window.get("first_day")), _date_of(window.get("last_day"))
    if first is None or last is None:
        return
    if last < first:
        yield (*path, "last_day"), "is before first_day, so no day is between them"
    elif not _meets(window.get("days"), first, last):
        yield (*path, "days"), "are none of those between first_day and last_day"


def _date_of(text: Any) -> date | None:
    return date.fromisoformat(text) if isinstance(text, str) else None


def _meets(days: Any, first: date, last: date) -> bool:
    """Whether one of the weekdays lies between two dates."""
    if not isinstance(days, list) or (last - first).days >= _WEEK:
        return True
    within = {DAYS[(first + timedelta(days=n)).weekday()] for n in range((last - first).days + 1)}
    return bool(within & set(days))


# -- names that nobody has


def _find_strangers(values: Values, path: Path, conditions: Values, hidden: Set[Path]) -> Iterator[Finding]:
    """Names that stand for nothing. Where there is a control plane, it may know more tenants, users and keys."""
    named = _names(values, "models", hidden)
    if named is not None and "*" not in named:
        yield from _judge_names(path, conditions, "models", named, "no model of this file")
    if values.get("control") is not None:
        return
    tenants = _names(values, "tenants", hidden)
    if tenants is not None:
        yield from _judge_names(path, conditions, "tenants", tenants, "no tenant of this file")
    if values.get("keys"):
        yield from _find_strange_subjects(values, path, conditions, hidden)


def _judge_names(path: Path, conditions: Values, field: str, known: dict[str, bool], what: str) -> Iterator[Finding]:
    for i, name in enumerate(conditions.get(field) or []):
        if isinstance(name, str) and not any(map(matcher(name), known)):
            shown = [one for one, may_show in known.items() if may_show]
            yield (*path, field, i), f"is {what}: {suggest(name, shown, field)}"


def _find_strange_subjects(values: Values, path: Path, conditions: Values, hidden: Set[Path]) -> Iterator[Finding]:
    keys = _names(values, "keys", hidden) or {}
    below: dict[str, dict[str, bool]] = {"key": keys, "user": {}, "team": {}}
    for place, tenant in items_of(values, ("tenants",)):
        for kind in ("user", "team"):
            for at, one in items_of(tenant, (*place, f"{kind}s")):
                below[kind][str(one.get("name"))] = (*at, "name") not in hidden
    for i, subject in enumerate(conditions.get("subjects") or []):
        kind, _, name = str(subject).partition(":")
        if isinstance(subject, str) and not any(map(matcher(name), below[kind])):
            shown = [f"{kind}:{one}" for one, may_show in below[kind].items() if may_show]
            yield (*path, "subjects", i), f"is no {kind} of this file: {suggest(subject, shown, f'{kind}s')}"


def _names(values: Values, section: str, hidden: Set[Path]) -> dict[str, bool] | None:
    """Names of a section, and whether each may be shown; None when one of them is itself a mistake."""
    if any(not isinstance(one, dict) or "name" not in one for one in values.get(section) or []):
        return None
    return {str(one["name"]): (*path, "name") not in hidden for path, one in items_of(values, (section,))}


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name is the one, or one of those, that a pattern stands for."""
    if pattern.startswith("*"):
        return lambda name: name.endswith(pattern[1:])
    if pattern.endswith("*"):
        return lambda name: name.startswith(pattern[:-1])
    return lambda name: name == pattern
