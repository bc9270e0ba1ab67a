"""Who a request speaks for, and how far that reaches. Pure data; made by `credentials` for each request."""

from msgspec import Struct

from controlplane.access.roles import Role


class Reach(Struct, frozen=True):
    """The part of the gateway that somebody sees. None: all tenants; all users of the tenant."""

    tenant: str | None = None
    user: str | None = None


class Actor(Struct, frozen=True):
    """Who changes something, as the audit trail names them. `id` and `role` are "" for the gateway itself."""

    name: str
    id: str = ""
    role: str = ""


class Principal(Struct, frozen=True):
    """The holder of an admin key, for the time of one request."""

    id: str
    name: str
    role: Role
    tenant: str | None = None
    team: str | None = None
    user: str | None = None
    expires_at: int | None = None

    @property
    def reach(self) -> Reach:
        """What this principal sees."""
        return Reach(self.tenant, self.user)

    @property
    def actor(self) -> Actor:
        """This principal as the audit trail names it."""
        return Actor(self.name, self.id, self.role.value)
