"""What issuers of tokens must be together with the rest. Rules as those of `rules`: (path, sentence), no values.

Pure. Does not know lines or types.
"""

from collections.abc import Iterator, Set
from typing import Any

import msgspec

from fastpath.identity.token.trust import find_problems
from fastpath.settings.findings import Finding, Values, find_repeats_in, items_of, suggest
from fastpath.settings.issuers import ROLES_IN_TENANT, ClaimNames, TrustedIssuer
from fastpath.settings.problem import Path
from fastpath.settings.tenancy_rules import MOST_BUDGETS, MOST_RATES, MOST_SLOTS, count_limits, known_models

Owner = tuple[Path, Values]
#: What stands in for a field that is missing or wrong by itself, so that the others can be judged.
_STAND_IN = TrustedIssuer(name="name", issuer="https://issuer.invalid", audience=("audience",))


def find_issuer_conflicts(values: Values, hidden: Set[Path]) -> Iterator[Finding]:
    """Everything that the rules find. Values at `hidden` paths are never shown."""
    control = values.get("control")
    callers = list(items_of(values, ("issuers",)))
    admins = list(items_of(control, ("control", "issuers"))) if isinstance(control, dict) else []
    for group in (callers, admins):
        yield from find_repeats_in(group, "name")
        yield from find_repeats_in(group, "issuer")
        for path, issuer in group:
            for field, sentence in find_problems(_as_issuer(issuer)):
                yield (*path, field), sentence
    for path, issuer in admins:
        for place, grant in items_of(issuer, (*path, "grants")):
            yield from _judge_grant(place, grant, issuer)
    if not isinstance(control, dict):  # else its tenants may be in the database
        yield from _find_strangers(values, callers, hidden)
    yield from _find_useless_list(callers)
    yield from _find_unknown_models(values, callers, hidden)
    if callers:
        yield from _find_crowds(values)


def _as_issuer(values: Values) -> TrustedIssuer:
    """A list of which a part was wrong by itself is not judged again."""
    fields: dict[str, Any] = {name: values[name] for name in TrustedIssuer.__struct_fields__ if name in values}
    for name, value in tuple(fields.items()):
        if isinstance(value, list) and msgspec.UNSET in value:
            del fields[name]
    claims = fields.pop("claims", None)
    if isinstance(claims, dict):
        fields["claims"] = msgspec.structs.replace(_STAND_IN.claims, **claims)
    return msgspec.structs.replace(_STAND_IN, **fields)


def _judge_grant(path: Path, grant: Values, issuer: Values) -> Iterator[Finding]:
    claims = issuer.get("claims") or {}
    in_tenant = grant.get("role") in ROLES_IN_TENANT
    says_tenant = issuer.get("tenant") or claims.get("tenant") or grant.get("tenant")
    if in_tenant and not says_tenant:
        yield (*path, "tenant"), "is missing: this role is held in a tenant; name it here, or say which claim does"
    if not in_tenant and "role" in grant and grant.get("tenant") is not None:
        yield (*path, "tenant"), "has no effect on a role that sees the whole gateway: remove it"
    if grant.get("role") == "developer" and claims.get("user", ClaimNames().user) == "":
        yield (*path, "role"), "needs claims.user: a developer is one user of its tenant"


def _find_strangers(values: Values, issuers: list[Owner], hidden: Set[Path]) -> Iterator[Finding]:
    """Tenants whose callers an issuer may let in, and nobody is."""
    tenants = {tenant.get("name"): path for path, tenant in items_of(values, ("tenants",))}
    shown = [str(name) for name, path in tenants.items() if (*path, "name") not in hidden]
    for path, issuer in issuers:
        named = [((*path, "tenant"), issuer.get("tenant"))]
        named += [((*path, "tenants", n), name) for n, name in enumerate(issuer.get("tenants") or [])]
        for place, name in named:
            if isinstance(name, str) and name not in ("", "*") and name not in tenants:
                yield place, f"is no tenant of this file: {suggest(name, shown, 'tenants')}"


def _find_unknown_models(values: Values, issuers: list[Owner], hidden: Set[Path]) -> Iterator[Finding]:
    known = known_models(values, hidden)
    if known is None or "*" in known[0]:
        return
    lists = [((*path, "models"), issuer.get("models")) for path, issuer in issuers]
    for path, tenant in items_of(values, ("tenants",)):
        for place, owner in [(path, tenant), *_parts_of(tenant, path)]:
            lists.append(((*place, "token_models"), owner.get("token_models")))
    for place, names in lists:
        for n, name in enumerate(names or []):
            if isinstance(name, str) and name != "*" and name not in known[0]:
                yield (*place, n), f"is no model of this file: {suggest(name, known[1], 'models')}"


def _parts_of(tenant: Values, path: Path) -> list[Owner]:
    return [*items_of(tenant, (*path, "teams")), *items_of(tenant, (*path, "users"))]


def _find_useless_list(issuers: list[Owner]) -> Iterator[Finding]:
    for path, issuer in issuers:
        claims = issuer.get("claims") or {}
        if issuer.get("members") == "listed" and not (issuer.get("tenant") or claims.get("tenant")):
            yield (*path, "members"), "needs a tenant that lists them: add `tenant`, or say which claim names it"
        elif issuer.get("members") == "listed" and claims.get("user", ClaimNames().user) == "":
            yield (*path, "members"), "needs claims.user: without it no token says which user it is of"


def _find_crowds(values: Values) -> Iterator[Finding]:
    """Tenants of which one request with a token might have to pass more limits than a request can."""
    models = list(items_of(values, ("models",))) or [((), {})]
    for path, tenant in items_of(values, ("tenants",)):
        teams = list(items_of(tenant, (*path, "teams"))) or [((), {})]
        users = list(items_of(tenant, (*path, "users"))) or [((), {})]
        budgets = len(tenant.get("budgets") or ()) + sum(
            max(len(one.get("budgets") or ()) for _, one in group) for group in (teams, users)
        )
        rates, slots = 0, 0
        for _, model in models:
            own = count_limits([(path, tenant)], model)
            most = [[count_limits([one], {**model, "limits": []}) for one in group] for group in (teams, users)]
            rates = max(rates, own[0] + sum(max(rate for rate, _ in counts) for counts in most))
            slots = max(slots, own[1] + sum(max(slot for _, slot in counts) for counts in most))
        if budgets > MOST_BUDGETS:
            yield path, f"has {budgets} budgets with those of a team and a user: at most {MOST_BUDGETS} can hold"
        if rates > MOST_RATES or slots > MOST_SLOTS:
            yield (
                path,
                f"has {rates} limits per time and {slots} of concurrency for one of the models, with those of a team, "
                f"a user and the model: at most {MOST_RATES} and {MOST_SLOTS} can hold",
            )
