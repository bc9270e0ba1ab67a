"""What is odd about policies but may be meant: it is told and stops nothing. Pure."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from fastpath.settings.findings import Finding
from fastpath.settings.policies import Conditions, Policy
from fastpath.settings.policy_rules import matcher
from fastpath.settings.problem import Problem, format_path
from fastpath.settings.schema import Settings

_FIELDS = Conditions.__struct_fields__


def find_policy_warnings(settings: Settings) -> list[Problem]:
    """Everything odd, in the order of the file."""
    return [Problem(0, 0, format_path(path), message) for path, message in _find(settings)]


def _find(settings: Settings) -> Iterator[Finding]:
    policies = settings.policies
    denies = [one for one in policies if one.effect == "deny" and one.unless is None and one.owner is None]
    nothing_allows = settings.control is None and not any(policy.effect == "allow" for policy in policies)
    if settings.policy_default == "deny" and nothing_allows:
        yield ("policy_default",), "is deny and no rule allows anything, so every request is refused"
    for place, policy in enumerate(policies):
        if policy.effect == "deny" and _is_bare(policy) and policy.unless is None:
            yield ("policies", place), "has no conditions, so every request is refused"
        elif policy.effect == "allow":
            above = next((deny for deny in denies if covers(deny, policy)), None)
            if above is not None:
                deny = format_path(("policies", policies.index(above)))
                yield ("policies", place), f"never has an effect: {deny} denies everything that it allows"


def _is_bare(conditions: Conditions) -> bool:
    return all(getattr(conditions, field) is None for field in _FIELDS)


def covers(wide: Policy, narrow: Policy) -> bool:
    """Whether one rule surely holds wherever the other does. Exceptions only make the narrow one narrower."""
    return all(
        wanted is None or (given is not None and all(_is_among(field, value, wanted) for value in given))
        for field in _FIELDS
        for wanted, given in [(getattr(wide, field), getattr(narrow, field))]
    )


def _is_among(field: str, value: Any, wanted: Sequence[Any]) -> bool:
    if field == "networks":
        return any(_lies_in(ip_network(value), ip_network(one)) for one in wanted)
    if field in ("subjects", "tenants", "models", "paths"):
        return any(_stands_for(one, value) for one in wanted)
    return value in wanted


def _lies_in(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def _stands_for(wide: str, narrow: str) -> bool:
    """Whether a pattern stands for all that another one does, as far as can be told from both."""
    if wide.endswith("*") and not narrow.startswith("*"):
        return matcher(wide)(narrow.removesuffix("*"))
    return wide == narrow or ("*" not in narrow and matcher(wide)(narrow))
