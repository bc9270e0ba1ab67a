"""Models and endpoints that the admin API adds, changes, drains and removes."""

import sqlalchemy as sa
from alembic import op

revision = "0006_registry"
down_revision = "0005_classes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "models",
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("says", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("name", name="uq_models_name"),
        sa.CheckConstraint("length(id) = 16", name="id_16"),
    )
    op.create_table(
        "endpoints",
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        sa.Column("model_id", sa.LargeBinary(16), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("says", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_endpoints"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_endpoints_model_id_models"),
        sa.UniqueConstraint("model_id", "name", name="uq_endpoints_model_id_name"),
        sa.CheckConstraint("length(id) = 16", name="id_16"),
        sa.CheckConstraint("state IN ('active', 'draining')", name="state"),
    )
    for table in ("models", "endpoints"):
        op.create_index(f"ix_{table}_created_at_id", table, ["created_at", "id"])


def downgrade() -> None:
    """Drops them."""
    op.drop_table("endpoints")
    op.drop_table("models")
