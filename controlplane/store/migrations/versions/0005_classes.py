"""What class a tenant's data is of at least, and where it may go."""

from alembic import op

revision = "0005_classes"
down_revision = "0004_alerts"
branch_labels = None
depends_on = None

#: In SQL that both databases have: SQLite adds a constraint only with its column.
_DEFAULT_CLASS = (
    "ALTER TABLE tenants ADD COLUMN default_class VARCHAR(2) "
    "CONSTRAINT ck_tenants_default_class CHECK (default_class IN ('P0', 'P1', 'P2'))"
)


def upgrade() -> None:
    """Adds them; no tenant says anything yet."""
    op.execute(_DEFAULT_CLASS)
    for name in ("residency_tiers", "residency_regions"):
        op.execute(f"ALTER TABLE tenants ADD COLUMN {name} JSON")


def downgrade() -> None:
    """Drops them."""
    for name in ("residency_regions", "residency_tiers", "default_class"):
        op.execute(f"ALTER TABLE tenants DROP COLUMN {name}")
