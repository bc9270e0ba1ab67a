"""Tables of this room: tenants, teams, users, keys, and the hashes of keys' secrets.

Owns their columns and constraints; nobody but this room writes to them. Every row carries its tenant, and composite
foreign keys keep a row from naming one tenant and hanging below another. A deleted object stays as a row, for the
names on old bills; the hashes of its keys do not.
"""

from typing import Any, Final

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from controlplane.ids import HexId
from controlplane.store.metadata import METADATA, Micros, sixteen

ALIVE: Final = text("deleted_at IS NULL")


def _id(name: str, *, primary: bool = False) -> Column[Any]:
    return Column(name, HexId(), primary_key=primary, nullable=False)


def _common() -> tuple[Any, ...]:
    """Columns and constraints of every object: what it is called, whose it is, what it may, its life."""
    return (
        _id("id", primary=True),
        Column("name", String(128), nullable=False),
        Column("owner", String(4), nullable=False),  # who may change it: "api", or the settings "file"
        Column("source", Text),  # that file
        Column("models", JSON(none_as_null=True)),
        Column("paths", JSON(none_as_null=True)),
        Column("networks", JSON(none_as_null=True)),
        Column("data_class", String(2)),
        Column("disabled", Boolean, nullable=False),
        Column("disabled_by", String(16)),  # the role that did it
        Column("created_at", Micros, nullable=False),
        Column("updated_at", Micros, nullable=False),
        Column("deleted_at", Micros),
        sixteen("id"),
        CheckConstraint("owner IN ('api', 'file')", name="owner"),
        CheckConstraint("data_class IN ('P0', 'P1', 'P2')", name="data_class"),
    )


def _unique_alive(table: Table, *columns: str) -> None:
    """A name is unique in its scope among what is not deleted."""
    named = [table.c[column] for column in columns]
    Index(f"uq_{table.name}_alive_name", *named, unique=True, sqlite_where=ALIVE, postgresql_where=ALIVE)


TENANTS: Final = Table(
    "tenants",
    METADATA,
    *_common(),
    Column("currency", String(3), nullable=False),  # ISO 4217; for good, because its ledger is kept in it
    Column("time_zone", String(64), nullable=False),  # whose days and months its budgets follow
    Column("default_class", String(2)),  # of its requests, at least; data_class is the most that may be sent
    Column("residency_tiers", JSON(none_as_null=True)),
    Column("residency_regions", JSON(none_as_null=True)),
    Column("markup_ppm", Integer),  # what is added to prices for it; None: what the model says
    CheckConstraint("markup_ppm BETWEEN -1000000 AND 1000000000", name="markup_ppm"),
    CheckConstraint("default_class IN ('P0', 'P1', 'P2')", name="default_class"),
)

TEAMS: Final = Table(
    "teams",
    METADATA,
    *_common(),
    _id("tenant_id"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
    UniqueConstraint("tenant_id", "id"),
)

USERS: Final = Table(
    "users",
    METADATA,
    *_common(),
    _id("tenant_id"),
    _id("team_id"),
    ForeignKeyConstraint(["tenant_id", "team_id"], ["teams.tenant_id", "teams.id"]),
    UniqueConstraint("tenant_id", "team_id", "id"),
)

KEYS: Final = Table(
    "keys",
    METADATA,
    *_common(),
    _id("tenant_id"),
    _id("team_id"),
    _id("user_id"),
    Column("expires_at", Micros),
    ForeignKeyConstraint(["tenant_id", "team_id", "user_id"], ["users.tenant_id", "users.team_id", "users.id"]),
    UniqueConstraint("tenant_id", "id"),
)

KEY_SECRETS: Final = Table(
    "key_secrets",
    METADATA,
    Column("hash", String(76), primary_key=True),  # b2:<pepper id>:<64 hex>
    Column("public_id", String(8), nullable=False),
    _id("key_id"),
    _id("tenant_id"),
    Column("created_at", Micros, nullable=False),
    Column("valid_until", Micros),  # None: the secret in use; else one that was rotated away, good until then
    ForeignKeyConstraint(["tenant_id", "key_id"], ["keys.tenant_id", "keys.id"]),
)

_unique_alive(TENANTS, "name")
_unique_alive(TEAMS, "tenant_id", "name")
_unique_alive(USERS, "team_id", "name")
_unique_alive(KEYS, "user_id", "name")
Index("ix_tenants_created_at", TENANTS.c.created_at, TENANTS.c.id)
for _table in (TEAMS, USERS, KEYS):
    Index(f"ix_{_table.name}_tenant_id_created_at", _table.c.tenant_id, _table.c.created_at, _table.c.id)
Index("ix_users_team_id", USERS.c.team_id)
Index("ix_keys_user_id", KEYS.c.user_id)
Index("ix_key_secrets_key_id", KEY_SECRETS.c.key_id)
