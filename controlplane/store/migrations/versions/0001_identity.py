"""Tenants, teams, users, keys, admin keys, provider keys, and the audit trail.

Names of CHECK constraints are completed by the convention of `METADATA`; the others stand as they are. A revision
describes the tables as they were when it was written, so it shares nothing with the rooms' tables.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001_identity"
down_revision = None
branch_labels = None
depends_on = None

_ALIVE = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    """Makes them."""
    _make_tenants()
    _make_teams()
    _make_users()
    _make_keys()
    _make_admin_keys()
    _make_provider_keys()
    _make_audit()


def downgrade() -> None:
    """Drops them, the last one first."""
    for name in ("audit_head", "audit_entries", "provider_keys", "admin_keys", "key_secrets"):
        op.drop_table(name)
    for name in ("keys", "users", "teams", "tenants"):
        op.drop_table(name)


def _id(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(16), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _common(table: str) -> tuple[Any, ...]:
    return (
        _id("id"),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("owner", sa.String(4), nullable=False),
        sa.Column("source", sa.Text()),
        sa.Column("models", sa.JSON()),
        sa.Column("paths", sa.JSON()),
        sa.Column("networks", sa.JSON()),
        sa.Column("data_class", sa.String(2)),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_by", sa.String(16)),
        _moment("created_at"),
        _moment("updated_at"),
        _moment("deleted_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.CheckConstraint("length(id) = 16", name="id_16"),
        sa.CheckConstraint("owner IN ('api', 'file')", name="owner"),
        sa.CheckConstraint("data_class IN ('P0', 'P1', 'P2')", name="data_class"),
    )


def _index_names(table: str, *columns: str) -> None:
    op.create_index(f"uq_{table}_alive_name", table, columns, unique=True, sqlite_where=_ALIVE, postgresql_where=_ALIVE)


def _make_tenants() -> None:
    op.create_table(
        "tenants",
        *_common("tenants"),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
    )
    _index_names("tenants", "name")
    op.create_index("ix_tenants_created_at", "tenants", ["created_at", "id"])


def _make_teams() -> None:
    op.create_table(
        "teams",
        *_common("teams"),
        _id("tenant_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_teams_tenant_id_tenants"),
        sa.UniqueConstraint("tenant_id", "id", name="uq_teams_tenant_id_id"),
    )
    _index_names("teams", "tenant_id", "name")
    op.create_index("ix_teams_tenant_id_created_at", "teams", ["tenant_id", "created_at", "id"])


def _make_users() -> None:
    op.create_table(
        "users",
        *_common("users"),
        _id("tenant_id"),
        _id("team_id"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "team_id"], ["teams.tenant_id", "teams.id"], name="fk_users_tenant_id_team_id_teams"
        ),
        sa.UniqueConstraint("tenant_id", "team_id", "id", name="uq_users_tenant_id_team_id_id"),
    )
    _index_names("users", "team_id", "name")
    op.create_index("ix_users_tenant_id_created_at", "users", ["tenant_id", "created_at", "id"])
    op.create_index("ix_users_team_id", "users", ["team_id"])


def _make_keys() -> None:
    op.create_table(
        "keys",
        *_common("keys"),
        _id("tenant_id"),
        _id("team_id"),
        _id("user_id"),
        _moment("expires_at", nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "team_id", "user_id"],
            ["users.tenant_id", "users.team_id", "users.id"],
            name="fk_keys_tenant_id_team_id_user_id_users",
        ),
        sa.UniqueConstraint("tenant_id", "id", name="uq_keys_tenant_id_id"),
    )
    _index_names("keys", "user_id", "name")
    op.create_index("ix_keys_tenant_id_created_at", "keys", ["tenant_id", "created_at", "id"])
    op.create_index("ix_keys_user_id", "keys", ["user_id"])
    op.create_table(
        "key_secrets",
        sa.Column("hash", sa.String(76), nullable=False),
        sa.Column("public_id", sa.String(8), nullable=False),
        _id("key_id"),
        _id("tenant_id"),
        _moment("created_at"),
        _moment("valid_until", nullable=True),
        sa.PrimaryKeyConstraint("hash", name="pk_key_secrets"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "key_id"], ["keys.tenant_id", "keys.id"], name="fk_key_secrets_tenant_id_key_id_keys"
        ),
    )
    op.create_index("ix_key_secrets_key_id", "key_secrets", ["key_id"])


def _make_admin_keys() -> None:
    op.create_table(
        "admin_keys",
        _id("id"),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        _id("tenant_id", nullable=True),
        _id("user_id", nullable=True),
        sa.Column("public_id", sa.String(8), nullable=False),
        sa.Column("hash", sa.String(76), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_by", sa.String(16)),
        _moment("expires_at", nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_admin_keys"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_admin_keys_tenant_id_tenants"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_admin_keys_user_id_users"),
        sa.UniqueConstraint("hash", name="uq_admin_keys_hash"),
        sa.CheckConstraint("length(id) = 16", name="id_16"),
        sa.CheckConstraint(
            "(role IN ('admin', 'operator', 'auditor') AND tenant_id IS NULL AND user_id IS NULL)"
            " OR (role = 'tenant-admin' AND tenant_id IS NOT NULL AND user_id IS NULL)"
            " OR (role = 'developer' AND tenant_id IS NOT NULL AND user_id IS NOT NULL)",
            name="role",
        ),
    )
    outside, inside = sa.text("tenant_id IS NULL"), sa.text("tenant_id IS NOT NULL")
    op.create_index(
        "uq_admin_keys_name", "admin_keys", ["name"], unique=True, sqlite_where=outside, postgresql_where=outside
    )
    op.create_index(
        "uq_admin_keys_tenant_id_name",
        "admin_keys",
        ["tenant_id", "name"],
        unique=True,
        sqlite_where=inside,
        postgresql_where=inside,
    )


def _make_provider_keys() -> None:
    op.create_table(
        "provider_keys",
        _id("id"),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_provider_keys"),
        sa.UniqueConstraint("name", name="uq_provider_keys_name"),
        sa.CheckConstraint("length(id) = 16", name="id_16"),
    )


def _make_audit() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        _moment("at"),
        sa.Column("actor_id", sa.String(32), nullable=False),
        sa.Column("actor_name", sa.String(128), nullable=False),
        sa.Column("actor_role", sa.String(16), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("object_id", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(32)),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_entries"),
    )
    op.create_index("ix_audit_entries_object_id", "audit_entries", ["object_id"])
    op.create_index("ix_audit_entries_tenant_id", "audit_entries", ["tenant_id"])
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
