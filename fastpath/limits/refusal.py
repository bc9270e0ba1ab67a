"""A Rejection in the caller's words: which limit, whose, and what to do. Never what others use.

A limit that all callers of a model share is capacity: 503. A caller's own limit is 429 with the time to wait, and a
spent budget 429 without one, because waiting does not help.
"""

from collections.abc import Sequence

from fastpath import errors
from fastpath.errors import GatewayError, Header
from fastpath.limits.admission import Rejection
from fastpath.limits.plan import SECOND, Bound, Fund, Scope

#: A place is free when some request ends, which nobody knows: about as long as a client waits by itself.
UNKNOWN_WAIT = SECOND

_WHOSE: dict[Scope, str] = {
    "key": "this key's",
    "user": "your user's",
    "team": "your team's",
    "tenant": "your tenant's",
    "model": "the model's",
}


def describe(rejection: Rejection, headers: Sequence[Header] = ()) -> GatewayError:
    """The error to answer with. headers: those of `meters`, for a 429."""
    plan, cause = rejection.plan, rejection.cause
    if cause == "budget" and rejection.elsewhere:
        return errors.rate_limited(_elsewhere(plan.funds[rejection.place]), UNKNOWN_WAIT, headers)
    if cause == "budget":
        return errors.quota_spent(_spent(plan.funds[rejection.place], rejection.wall), headers)
    if cause == "rate":
        return _too_fast(plan.rates[rejection.place], rejection.retry_after, headers)
    if cause == "slots":
        return _too_many(plan.slots[rejection.place], headers)
    if cause == "superseded":
        return errors.superseded()
    return errors.overloaded("The gateway has no room to count for one caller more. Its operator must restart it.")


def forbidden_degrade(model: str) -> GatewayError:
    """The budget allows a cheaper model only, and the caller forbade that."""
    message = (
        f"Your budget allows only the model {model[:200]!r} now, and the request forbids a substitute: ask for it."
    )
    return errors.quota_spent(message)


def _too_fast(bound: Bound, wait: int, headers: Sequence[Header]) -> GatewayError:
    if bound.owner.scope == "model":
        seconds = max(wait, 0) / SECOND
        return errors.overloaded("The model is at the limit of what all callers may use of it together.", seconds)
    limit = f"{_WHOSE[bound.owner.scope]} limit of {bound.text}{_of_model(bound)}"
    if wait < 0:
        message = f"The request alone is more than {limit} lets pass at once. Send less, or lower max_tokens."
        return errors.rate_limited(message, None, headers)
    message = f"{limit[0].upper()}{limit[1:]} is reached. Try again in {max(wait / SECOND, 0.001):.3g} s."
    return errors.rate_limited(message, wait, headers)


def _too_many(bound: Bound, headers: Sequence[Header]) -> GatewayError:
    if bound.owner.scope == "model":
        return errors.overloaded("The model runs as many requests as all callers may have together.")
    limit = f"{_WHOSE[bound.owner.scope]} limit of {bound.text}{_of_model(bound)}"
    message = f"{limit[0].upper()}{limit[1:]} is reached. Wait until one of them ends."
    return errors.rate_limited(message, UNKNOWN_WAIT, headers)


def _spent(fund: Fund, wall: float) -> str:
    whose = _WHOSE[fund.owner.scope]
    renews = "as its older days pass" if fund.days > 1 else f"on {fund.calendar.renewal(wall)}"
    return (
        f"{whose[0].upper()}{whose[1:]} budget {fund.name!r} has less left than this request may cost. It renews "
        f"{renews}; until then lower max_tokens, or ask the operator of this gateway for more."
    )


def _elsewhere(fund: Fund) -> str:
    whose = _WHOSE[fund.owner.scope]
    return (
        f"{whose[0].upper()}{whose[1:]} budget {fund.name!r} has enough left, but it is in other nodes' hands. Try "
        "again in 1 s."
    )


def _of_model(bound: Bound) -> str:
    return f" for the model {bound.model!r}" if bound.model is not None else ""
