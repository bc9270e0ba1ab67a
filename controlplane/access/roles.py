"""Roles, and the rules that name them: one rule for every route.

Owns the five roles, their rank, and the named rules. Does not own how far a role reaches (`principal`) or what it may
grant (`grants`). Pure data.
"""

from enum import StrEnum

from msgspec import Struct


class Role(StrEnum):
    """What a holder of an admin key is. admin, operator and auditor see the whole gateway, the others one tenant."""

    ADMIN = "admin"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    TENANT_ADMIN = "tenant-admin"
    DEVELOPER = "developer"

    @property
    def rank(self) -> int:
        """Whose word stands: what one role has switched off, a lower one may not switch on."""
        return _RANKS[self]

    @property
    def in_tenant(self) -> bool:
        """Whether the role is held within one tenant."""
        return self in (Role.TENANT_ADMIN, Role.DEVELOPER)


_RANKS = {Role.AUDITOR: 0, Role.DEVELOPER: 1, Role.TENANT_ADMIN: 2, Role.OPERATOR: 3, Role.ADMIN: 4}


class Rule(Struct, frozen=True):
    """Who may use a route. `public`: nobody is asked who they are."""

    roles: frozenset[Role] = frozenset()
    public: bool = False

    def allows(self, role: Role) -> bool:
        """Whether this role may use the route."""
        return self.public or role in self.roles


def only(*roles: Role) -> Rule:
    """A rule for these roles."""
    return Rule(frozenset(roles))


PUBLIC = Rule(public=True)
EVERYBODY = only(*Role)
ADMINS = only(Role.ADMIN)
TENANT_CHIEFS = only(Role.ADMIN, Role.TENANT_ADMIN)
KEY_MAKERS = only(Role.ADMIN, Role.TENANT_ADMIN, Role.DEVELOPER)
#: Taking a key away only tightens, and in an incident the person at hand must be able to.
KEY_REVOKERS = only(Role.ADMIN, Role.OPERATOR, Role.TENANT_ADMIN, Role.DEVELOPER)
ADMIN_KEY_READERS = only(Role.ADMIN, Role.AUDITOR, Role.TENANT_ADMIN)
POLICY_READERS = only(Role.ADMIN, Role.OPERATOR, Role.AUDITOR, Role.TENANT_ADMIN)
PROVIDER_KEEPERS = only(Role.ADMIN, Role.OPERATOR)
PROVIDER_READERS = only(Role.ADMIN, Role.OPERATOR, Role.AUDITOR)
#: Endpoints are the operators' daily work; what decides whose data goes where is asked inside (`registry`).
REGISTRY_KEEPERS = only(Role.ADMIN, Role.OPERATOR)
REGISTRY_READERS = only(Role.ADMIN, Role.OPERATOR, Role.AUDITOR)
ALERT_READERS = only(Role.ADMIN, Role.OPERATOR, Role.AUDITOR, Role.TENANT_ADMIN)
#: Sending again what was given up changes no rule.
ALERT_SENDERS = only(Role.ADMIN, Role.OPERATOR, Role.TENANT_ADMIN)
DECISION_READERS = only(Role.ADMIN, Role.OPERATOR, Role.AUDITOR, Role.TENANT_ADMIN)
AUDITORS = only(Role.ADMIN, Role.AUDITOR)
