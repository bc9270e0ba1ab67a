"""What is added to prices for a tenant."""

from alembic import op

revision = "0007_markup"
down_revision = "0006_registry"
branch_labels = None
depends_on = None

#: In SQL that both databases have: SQLite adds a constraint only with its column.
_MARKUP = (
    "ALTER TABLE tenants ADD COLUMN markup_ppm INTEGER "
    "CONSTRAINT ck_tenants_markup_ppm CHECK (markup_ppm BETWEEN -1000000 AND 1000000000)"
)


def upgrade() -> None:
    """Adds it; tenants that are there pay what the models say, as before."""
    op.execute(_MARKUP)


def downgrade() -> None:
    """Drops it."""
    op.execute("ALTER TABLE tenants DROP COLUMN markup_ppm")
