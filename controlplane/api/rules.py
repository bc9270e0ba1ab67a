"""A rule on every route, and the guard that holds it.

Owns where a route's rule stands (`opt`), the check that none is without one, and the guard that authenticates and
authorises before a handler runs. Does not own the rules (`access.roles`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from litestar.connection import ASGIConnection, Request
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from controlplane.access.credentials import Credentials
from controlplane.access.principal import Principal
from controlplane.access.roles import Rule
from controlplane.problem import Problem, forbidden, unauthenticated

_RULE: Final = "rule"
_PRINCIPAL: Final = "principal"

Handlers = Sequence[HTTPRouteHandler]


class UnruledRouteError(Exception):
    """A route says not who may use it. The programmer must."""


def under(rule: Rule) -> dict[str, Any]:
    """The `opt` of a route that this rule holds for."""
    return {_RULE: rule}


def rule_of(handler: BaseRouteHandler) -> Rule | None:
    """The rule of a route; None when it has none."""
    found = handler.opt.get(_RULE)
    return found if isinstance(found, Rule) else None


def all_ruled(handlers: Iterable[HTTPRouteHandler]) -> Handlers:
    """The same handlers. Raises UnruledRouteError when one has no rule, or one that nobody passes."""
    found = tuple(handlers)
    for handler in found:
        rule = rule_of(handler)
        if rule is None or not (rule.public or rule.roles):
            raise UnruledRouteError(f"{handler.fn.__module__}.{handler.fn.__name__} has no rule: say who may use it")
    return found


async def authorise(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Lets a request pass to its handler, or raises 401 or 403. What has no rule is answered to nobody."""
    rule = rule_of(handler)
    if rule is None:
        raise Problem(405, "method_not_allowed", "That method is not allowed here. See GET /openapi.json.")
    if rule.public:
        return
    credentials: Credentials = connection.app.state.credentials
    sent = connection.headers.getall("authorization", [])
    if len(sent) > 1:
        raise unauthenticated()
    principal = await credentials.find(sent[0] if sent else None)
    if not rule.allows(principal.role):
        raise forbidden(f"The role {principal.role} may not do this.")
    connection.scope["state"][_PRINCIPAL] = principal


async def provide_principal(request: Request[Any, Any, Any]) -> Principal:
    """Whom the guard let pass."""
    principal = request.scope["state"][_PRINCIPAL]
    assert isinstance(principal, Principal)
    return principal
