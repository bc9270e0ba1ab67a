"""Policies: rules of the whole gateway, and tenants' own, which can only deny."""

import sqlalchemy as sa
from alembic import op

revision = "0003_policies"
down_revision = "0002_ledger"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "policies",
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("tenant_id", sa.LargeBinary(16)),
        sa.Column("effect", sa.String(5), nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("made_by", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_policies_tenant_id_tenants"),
        sa.CheckConstraint("length(id) = 16", name="id_16"),
        sa.CheckConstraint("effect = 'deny' OR (effect = 'allow' AND tenant_id IS NULL)", name="effect"),
    )
    outside, inside = sa.text("tenant_id IS NULL"), sa.text("tenant_id IS NOT NULL")
    op.create_index(
        "uq_policies_name", "policies", ["name"], unique=True, sqlite_where=outside, postgresql_where=outside
    )
    op.create_index(
        "uq_policies_tenant_id_name",
        "policies",
        ["tenant_id", "name"],
        unique=True,
        sqlite_where=inside,
        postgresql_where=inside,
    )
    op.create_index("ix_policies_created_at_id", "policies", ["created_at", "id"])


def downgrade() -> None:
    """Drops it."""
    op.drop_table("policies")
