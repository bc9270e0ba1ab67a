"""Whom the rows of a published key table point at: tenants, teams, users and grants, each by its place.

Owns the shape and the codec of the settings piece of a publication. A row says a place: a tenant's is the one where it
stands, a team's or user's the one where its id does, wherever in its tenant it is. Does not own the rows
(`_native.keytable`). Every Struct is frozen, so any thread may read it.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from fastpath.settings.kinds import DataClass
from fastpath.settings.policies import Policy
from fastpath.settings.registry import Registered
from fastpath.settings.secret import reveal_hook, secret_hook
from fastpath.settings.tenancy import Tenant


class Grant(Struct, frozen=True, array_like=True):
    """What some keys may be used for, their owners considered. None: all; empty: nothing. See `settings.Key`."""

    models: tuple[str, ...] = ("*",)
    paths: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    data_class: DataClass | None = None


class Roster(Struct, frozen=True, array_like=True):
    """The distinct ones, however many keys there are.

    Ids of tenants stand in the order of these. Those of teams and users stand where they stood before: new ones behind
    all, and those that went stay for a while, so that what is added moves nobody. Where teams or users have no id
    themselves, theirs stand in their order, tenant by tenant.
    """

    tenants: tuple[Tenant, ...] = ()
    tenant_ids: tuple[str, ...] = ()
    team_ids: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    policies: tuple[Policy, ...] = ()  # in the order in which they were made
    models: tuple[Registered, ...] = ()  # likewise; keys of endpoints inside, so a roster is a secret

    def team_names(self) -> list[str]:
        """By place; "" where nobody stands any more."""
        return _by_place(self.team_ids, [(team.id, team.name) for tenant in self.tenants for team in tenant.teams])

    def user_names(self) -> list[str]:
        """By place; "" where nobody stands any more."""
        return _by_place(self.user_ids, [(user.id, user.name) for tenant in self.tenants for user in tenant.users])


def encode_roster(roster: Roster) -> bytes:
    """MessagePack, for a publication and for the pipe to a worker."""
    return msgspec.msgpack.encode(roster, enc_hook=reveal_hook)


def decode_roster(data: bytes) -> Roster:
    """Reverse of `encode_roster`. Raises msgspec.ValidationError or DecodeError, ValueError when ids are missing."""
    roster = msgspec.msgpack.decode(data, type=Roster, dec_hook=secret_hook)
    teams = sum(len(tenant.teams) for tenant in roster.tenants)
    users = sum(len(tenant.users) for tenant in roster.tenants)
    if len(roster.tenants) != len(roster.tenant_ids) or teams > len(roster.team_ids) or users > len(roster.user_ids):
        raise ValueError("tenants, teams or users without ids")
    return roster


def _by_place(ids: Sequence[str], listed: Sequence[tuple[str, str]]) -> list[str]:
    """listed: ids and names, tenant by tenant."""
    names = {own or standing: name for standing, (own, name) in zip(ids, listed, strict=False)}
    return [names.get(each, "") for each in ids]
