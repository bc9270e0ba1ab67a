"""What tenants, limits, budgets and prices must be together. Rules as those of `rules`: (path, sentence), no values.

Pure. Does not know lines or types.
"""

from collections.abc import Iterator, Set
from typing import Any

from fastpath.settings.findings import Finding, Values, find_repeats_in, items_of, suggest
from fastpath.settings.problem import Path

MOST_RATES = 32
MOST_SLOTS = 8
MOST_BUDGETS = 8

Owner = tuple[Path, Values]


def find_tenancy_conflicts(values: Values, hidden: Set[Path]) -> Iterator[Finding]:
    """Everything that the rules find. Values at `hidden` paths are never shown."""
    tenants = list(items_of(values, ("tenants",)))
    yield from find_repeats_in(tenants, "name")
    for path, tenant in tenants:
        yield from find_repeats_in(list(items_of(tenant, (*path, "teams"))), "name")
        yield from find_repeats_in(list(items_of(tenant, (*path, "users"))), "name")
        yield from _find_unknown_team(path, tenant, hidden)
    yield from _find_strangers(values, hidden)
    known = known_models(values, hidden)
    for path, owner in _owners(values):
        for limit_path, limit in _limits(path, owner):
            yield from _judge_limit(limit_path, limit)
        yield from find_repeats_in(list(items_of(owner, (*path, "model_limits"))), "model")
        budgets = list(items_of(owner, (*path, "budgets")))
        yield from find_repeats_in([(place, {"name": "budget", **budget}) for place, budget in budgets], "name")
        for budget_path, budget in budgets:
            yield from _judge_budget(budget_path, budget)
        yield from _find_twins(path, owner)
        if known is not None:
            yield from _find_unknown_models(path, owner, *known)
    yield from _find_crowds(values)


# -- who belongs to whom


def _find_unknown_team(path: Path, tenant: Values, hidden: Set[Path]) -> Iterator[Finding]:
    teams = {team.get("name"): team_path for team_path, team in items_of(tenant, (*path, "teams"))}
    shown = [name for name, place in teams.items() if isinstance(name, str) and (*place, "name") not in hidden]
    for user_path, user in items_of(tenant, (*path, "users")):
        name = user.get("team")
        if isinstance(name, str) and name not in teams:
            yield (*user_path, "team"), f"is no team of this tenant: {suggest(name, shown, 'teams')}"


def _find_strangers(values: Values, hidden: Set[Path]) -> Iterator[Finding]:
    """Keys whose tenant, team or user nobody is."""
    tenants = {tenant.get("name"): (path, tenant) for path, tenant in items_of(values, ("tenants",))}
    shown = [str(name) for name, (path, _) in tenants.items() if (*path, "name") not in hidden]
    for path, key in items_of(values, ("keys",)):
        name = key.get("tenant")
        if name is None:
            for part in ("team", "user"):
                if key.get(part) is not None:
                    yield (*path, part), "needs the key's tenant: add `tenant`"
        elif name not in tenants:
            yield (*path, "tenant"), f"is no tenant of this file: {suggest(name, shown, 'tenants')}"
        else:
            yield from _find_strange_parts(path, key, *tenants[name], hidden)


def _find_strange_parts(path: Path, key: Values, home: Path, tenant: Values, hidden: Set[Path]) -> Iterator[Finding]:
    found: dict[str, Values | None] = {}
    for part in ("team", "user"):
        name = key.get(part)
        ones = {one.get("name"): (place, one) for place, one in items_of(tenant, (*home, f"{part}s"))}
        found[part] = ones[name][1] if name in ones else None
        if name is not None and name not in ones:
            shown = [str(other) for other, (place, _) in ones.items() if (*place, "name") not in hidden]
            yield (*path, part), f"is no {part} of the key's tenant: {suggest(name, shown, f'its {part}s')}"
    user, team = found["user"], key.get("team")
    if user is not None and team is not None and user.get("team") not in (None, team):
        yield (*path, "team"), "is another team than the one of the key's user: remove one of them"


# -- limits


def _owners(values: Values) -> Iterator[Owner]:
    """Everything that may carry limits."""
    for path, tenant in items_of(values, ("tenants",)):
        yield path, tenant
        yield from items_of(tenant, (*path, "teams"))
        yield from items_of(tenant, (*path, "users"))
    yield from items_of(values, ("keys",))
    yield from items_of(values, ("models",))


def _limits(path: Path, owner: Values) -> Iterator[Owner]:
    yield from items_of(owner, (*path, "limits"))
    for place, one in items_of(owner, (*path, "model_limits")):
        yield from items_of(one, (*place, "limits"))


def _judge_limit(path: Path, limit: Values) -> Iterator[Finding]:
    counted = limit.get("count", "requests")
    if limit.get("most") is None and limit.get("share") is None:
        yield (*path, "most"), "is missing: say how many, or give a share of the capacity"
    if counted == "concurrency":
        for name in ("share", "per", "window", "burst"):
            if limit.get(name) is not None:
                yield (*path, name), "has no effect on concurrency, which is what runs at once: remove it"
    if counted != "weighted_tokens" and limit.get("output_weight") is not None:
        yield (*path, "output_weight"), "is for weighted_tokens alone: remove it"
    if limit.get("per") is not None and limit.get("window") is not None:
        yield (*path, "window"), "says the window a second time, beside `per`: remove one of them"


def _find_twins(path: Path, owner: Values) -> Iterator[Finding]:
    """Two limits that would share one counter."""
    lists = [list(items_of(owner, (*path, "limits")))]
    lists += [list(items_of(one, (*place, "limits"))) for place, one in items_of(owner, (*path, "model_limits"))]
    for limits in lists:
        first: dict[object, Path] = {}
        for place, limit in limits:
            window = limit.get("window") or limit.get("per", "minute")
            same = limit.get("count", "requests"), window, limit.get("output_weight")
            if limit.get("count") == "concurrency":
                same = "concurrency", None, None
            if first.setdefault(same, place) != place:
                yield place, "counts the same in the same window as another limit of this list: keep one of them"


# -- budgets


def _judge_budget(path: Path, budget: Values) -> Iterator[Finding]:
    if (budget.get("amount") is None) == (budget.get("tokens") is None):
        yield (*path, "amount"), "or tokens must be given, and not both: a budget is of money or of tokens"
    rolling = budget.get("period") == "rolling"
    if rolling and budget.get("days") is None:
        yield (*path, "days"), "is missing: say how many days a rolling period has"
    if not rolling and budget.get("days") is not None:
        yield (*path, "days"), "is for `period: rolling` alone: remove it"
    if rolling and budget.get("carry_over"):
        yield (*path, "carry_over"), "has no meaning for a rolling period, which never ends: remove it"
    last = 0
    for place, threshold in items_of(budget, (*path, "thresholds")):
        percent = threshold.get("percent")
        if isinstance(percent, int):
            if percent <= last:
                yield (*place, "percent"), "must be above the one before it: thresholds ascend"
            last = percent
        degrades = threshold.get("action") == "degrade"
        if degrades and threshold.get("model") is None:
            yield (*place, "model"), "is missing: name the cheaper model that answers instead"
        if not degrades and threshold.get("model") is not None:
            yield (*place, "model"), "is for `action: degrade` alone: remove it"


# -- models


def known_models(values: Values, hidden: Set[Path]) -> tuple[set[Any], list[str]] | None:
    """Names of all models, and those that may be shown; None when one of them is itself a mistake."""
    if any(not isinstance(model, dict) or "name" not in model for model in values.get("models") or []):
        return None
    named = {model["name"]: path for path, model in items_of(values, ("models",))}
    return set(named), [name for name, path in named.items() if (*path, "name") not in hidden]


def _find_unknown_models(path: Path, owner: Values, known: set[Any], shown: list[str]) -> Iterator[Finding]:
    """Limits are by the name under `models`, so `*` knows no other; a cheaper model is asked for by any name."""
    places = list(items_of(owner, (*path, "model_limits")))
    for place, budget in items_of(owner, (*path, "budgets")):
        places += items_of(budget, (*place, "thresholds")) if "*" not in known else ()
    for place, one in places:
        name = one.get("model")
        if isinstance(name, str) and name not in known:
            yield (*place, "model"), f"is no model of this file: {suggest(name, shown, 'models')}"


# -- how many meet


def _find_crowds(values: Values) -> Iterator[Finding]:
    """Keys of which one request would have to pass more limits than a request can."""
    by_name = {tenant.get("name"): (path, tenant) for path, tenant in items_of(values, ("tenants",))}
    models = list(items_of(values, ("models",))) or [((), {})]
    for path, key in items_of(values, ("keys",)):
        chain = [(path, key), *_superiors(key, by_name.get(key.get("tenant")))]
        budgets = sum(len(owner.get("budgets") or ()) for _, owner in chain)
        if budgets > MOST_BUDGETS:
            message = f"has {budgets} budgets with those of its user, team and tenant: at most {MOST_BUDGETS} can hold"
            yield path, message
        rates, slots = (
            max(numbers) for numbers in zip(*[count_limits(chain, model) for _, model in models], strict=True)
        )
        if rates > MOST_RATES or slots > MOST_SLOTS:
            message = (
                f"has {rates} limits per time and {slots} of concurrency for one of the models, with those of its "
                f"user, team, tenant and the model: at most {MOST_RATES} and {MOST_SLOTS} can hold"
            )
            yield path, message


def _superiors(key: Values, home: Owner | None) -> list[Owner]:
    """The tenant, team and user of a key."""
    if home is None:
        return []
    path, tenant = home
    users = [user for user in items_of(tenant, (*path, "users")) if user[1].get("name") == key.get("user")]
    team = key.get("team") or (users[0][1].get("team") if users and key.get("user") is not None else None)
    teams = [one for one in items_of(tenant, (*path, "teams")) if team is not None and one[1].get("name") == team]
    return [home, *teams, *(users if key.get("user") is not None else [])]


def count_limits(chain: list[Owner], model: Values) -> tuple[int, int]:
    """Limits per time, and of concurrency, that a request for a model meets."""
    limits = [limit for _, limit in items_of(model, ("limits",))]
    for path, owner in chain:
        limits += [limit for _, limit in items_of(owner, (*path, "limits"))]
        for place, one in items_of(owner, (*path, "model_limits")):
            if one.get("model") == model.get("name"):
                limits += [limit for _, limit in items_of(one, (*place, "limits"))]
    slots = sum(limit.get("count") == "concurrency" for limit in limits)
    return len(limits) - slots, slots
