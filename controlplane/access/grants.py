"""What a principal may give away: never more than it has, and never everything unless it is an admin.

Owns the check of scopes, expiry and roles that are granted. Does not own how scopes intersect (`identity.scope`). Pure.
"""

from controlplane.access.principal import Principal
from controlplane.access.roles import Role
from controlplane.identity.scope import Scope, exceeded, wildcard
from controlplane.problem import Problem, forbidden

#: Which roles a role may put on an admin key.
GRANTABLE: dict[Role, frozenset[Role]] = {
    Role.ADMIN: frozenset(Role),
    Role.TENANT_ADMIN: frozenset({Role.TENANT_ADMIN, Role.DEVELOPER}),
}


def check_scope_grant(grantor: Principal, limit: Scope, wanted: Scope) -> None:
    """`limit`: what the owner of the new object and the grantor both have. Raises 403, naming the field."""
    field = exceeded(limit, wanted)
    if field is not None:
        raise _too_wide(field, "asks for more than its owner has")
    if grantor.role is not Role.ADMIN and (field := wildcard(wanted)) is not None:
        raise _too_wide(
            field, "asks for everything, which only an admin may grant; leave it null for all its owner has"
        )


def check_expiry_grant(grantor: Principal, expires_at: int | None) -> None:
    """Raises 403 when what is granted would outlive the grantor's own key."""
    if grantor.expires_at is not None and (expires_at is None or expires_at > grantor.expires_at):
        raise _too_wide("expires_at", f"is later than {grantor.expires_at}, when your own admin key expires")


def check_role_grant(grantor: Principal, role: Role) -> None:
    """Raises 403 when the grantor may not make an admin key with this role."""
    if role not in GRANTABLE.get(grantor.role, frozenset()):
        raise _too_wide("role", f"cannot be granted by a {grantor.role}")


def check_enable(grantor: Principal, disabled_by: str | None) -> None:
    """Raises 403 when somebody above has disabled the object that the grantor wants to enable."""
    if disabled_by and Role(disabled_by).rank > grantor.role.rank:
        raise forbidden(f"It was disabled by a role above yours ({disabled_by}): ask one of them.", "disabled_above")


def _too_wide(field: str, reason: str) -> Problem:
    return forbidden(f"`{field}` {reason}.", "grant_too_wide", field)
