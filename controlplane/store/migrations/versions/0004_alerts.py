"""Budget alerts, whom they are sent to, and how each delivery gets on."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004_alerts"
down_revision = "0003_policies"
branch_labels = None
depends_on = None

_DUE = sa.text("state = 1")


def upgrade() -> None:
    """Makes them."""
    _make_destinations()
    _make_alerts()
    _make_deliveries()


def downgrade() -> None:
    """Drops them, the last one first."""
    for name in ("alert_deliveries", "budget_alerts", "alert_destinations"):
        op.drop_table(name)


def _id(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(16), nullable=False)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _text(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _make_destinations() -> None:
    op.create_table(
        "alert_destinations",
        _id("id"),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("owner", sa.String(4), nullable=False),
        sa.Column("tenant", sa.Text()),
        *_text("url"),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        _moment("deleted_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alert_destinations"),
        sa.CheckConstraint("length(id) = 16", name="id_16"),
        sa.CheckConstraint("owner IN ('api', 'file')", name="owner"),
    )
    for name, columns, where in (
        ("name", ("owner", "name"), "tenant IS NULL AND deleted_at IS NULL"),
        ("tenant_name", ("owner", "tenant", "name"), "tenant IS NOT NULL AND deleted_at IS NULL"),
    ):
        op.create_index(
            f"uq_alert_destinations_{name}",
            "alert_destinations",
            columns,
            unique=True,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )


def _make_alerts() -> None:
    op.create_table(
        "budget_alerts",
        _id("id"),
        *_text("tenant"),
        sa.Column("scope", sa.String(8), nullable=False),
        *_text("name", "budget"),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("span", sa.String(8), nullable=False),
        sa.Column("days", sa.SmallInteger(), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("whole", sa.BigInteger(), nullable=False),
        _moment("crossed_at"),
        _moment("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_budget_alerts"),
        sa.UniqueConstraint(
            *("tenant", "scope", "name", "budget", "kind", "currency", "span", "days", "percent", "period"),
            name="uq_budget_alerts_key",
        ),
        sa.CheckConstraint("length(id) = 16", name="id_16"),
    )
    op.create_index("ix_budget_alerts_created_at", "budget_alerts", ["created_at", "id"])


def _make_deliveries() -> None:
    op.create_table(
        "alert_deliveries",
        _id("alert_id"),
        _id("destination_id"),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        _moment("due_at"),
        *_text("problem"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("alert_id", "destination_id", name="pk_alert_deliveries"),
        sa.ForeignKeyConstraint(["alert_id"], ["budget_alerts.id"], name="fk_alert_deliveries_alert_id_budget_alerts"),
        sa.ForeignKeyConstraint(
            ["destination_id"],
            ["alert_destinations.id"],
            name="fk_alert_deliveries_destination_id_alert_destinations",
        ),
        sa.CheckConstraint("length(alert_id) = 16", name="alert_id_16"),
        sa.CheckConstraint("length(destination_id) = 16", name="destination_id_16"),
        sa.CheckConstraint("state IN (1, 2, 3)", name="state"),
    )
    op.create_index("ix_alert_deliveries_due", "alert_deliveries", ["due_at"], sqlite_where=_DUE, postgresql_where=_DUE)
