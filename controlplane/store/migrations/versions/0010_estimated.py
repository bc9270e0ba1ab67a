"""Requests that were settled by estimate are found without reading the others: they are looked at every minute."""

from alembic import op

revision = "0010_estimated"
down_revision = "0009_order"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the index: state 4 is an estimate."""
    op.execute("CREATE INDEX ix_ledger_requests_estimated ON ledger_requests (request) WHERE state = 4")


def downgrade() -> None:
    """Drops it."""
    op.execute("DROP INDEX ix_ledger_requests_estimated")
