"""The ledger: requests, attempts, transactions, entries, balances, quarantine, statements, and what keeps them honest.

Transactions and entries can only be added: triggers refuse anything else, on PostgreSQL the role has no right to it
either. There, too, a statement is refused whose entries do not sum to zero. A request that is over stays over.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002_ledger"
down_revision = "0001_identity"
branch_labels = None
depends_on = None

_APPEND_ONLY = ("ledger_transactions", "ledger_entries")
_OPEN = sa.text("state IN (1, 2, 3)")
_CORRECTING = sa.text("corrects IS NOT NULL")


def upgrade() -> None:
    """Makes them."""
    _make_requests()
    _make_attempts()
    _make_transactions()
    _make_entries()
    _make_balances()
    _make_quarantine()
    _make_stated()
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def downgrade() -> None:
    """Drops them; their triggers go with them."""
    for name in ("stated", "quarantine", "balances", "entries", "transactions", "attempts", "requests"):
        op.drop_table(f"ledger_{name}")
    if op.get_bind().dialect.name == "postgresql":
        for name in ("refuse", "refuse_reopening", "refuse_unbalanced"):
            op.execute(f"DROP FUNCTION ledger_{name}()")


def _id(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(16), nullable=nullable)


def _text(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _big(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def _small(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.SmallInteger(), autoincrement=False, nullable=False)


def _currency() -> sa.Column[Any]:
    return sa.Column("currency", sa.String(3), nullable=False)


def _sixteen(name: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"length({name}) = 16", name=f"{name}_16")


def _make_requests() -> None:
    op.create_table(
        "ledger_requests",
        _id("request"),
        _small("state"),
        *_text("tenant", "team", "user", "key", "model", "path"),
        *_big("admitted"),
        *_big("ended", nullable=True),
        sa.Column("status", sa.Integer()),
        *_text("outcome"),
        sa.Column("flags", sa.Integer(), nullable=False),
        _small("attempts"),
        _currency(),
        *_big("reserved", "charged", "refunded", "input_tokens", "output_tokens"),
        sa.Column("early", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("request", name="pk_ledger_requests"),
        _sixteen("request"),
        sa.CheckConstraint("reserved >= 0", name="reserved"),
        sa.CheckConstraint("refunded >= 0 AND refunded <= charged", name="refunded"),
    )
    op.create_index(
        "ix_ledger_requests_open", "ledger_requests", ["admitted"], sqlite_where=_OPEN, postgresql_where=_OPEN
    )


def _make_attempts() -> None:
    op.create_table(
        "ledger_attempts",
        _id("request"),
        _small("attempt"),
        sa.Column("intent", sa.LargeBinary()),
        sa.Column("mark", sa.LargeBinary()),
        *_big("cost", "charge", nullable=True),
        sa.Column("stated", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("request", "attempt", name="pk_ledger_attempts"),
        _sixteen("request"),
    )


def _make_transactions() -> None:
    op.create_table(
        "ledger_transactions",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        _id("id"),
        _small("book"),
        _small("kind"),
        _id("request"),
        _small("attempt"),
        _id("corrects", nullable=True),
        _currency(),
        *_big("amount"),
        *_big("claimed", nullable=True),
        *_big("posted", "admitted"),
        *_text("tenant", "model", "endpoint", "price", "usage"),
        sa.Column("flags", sa.Integer(), nullable=False),
        *_text("reason", "actor"),
        sa.PrimaryKeyConstraint("seq", name="pk_ledger_transactions"),
        sa.UniqueConstraint("id", name="uq_ledger_transactions_id"),
        _sixteen("id"),
        _sixteen("request"),
    )
    op.create_index("ix_ledger_transactions_admitted", "ledger_transactions", ["admitted"])
    op.create_index(
        "ix_ledger_transactions_corrects",
        "ledger_transactions",
        ["corrects"],
        sqlite_where=_CORRECTING,
        postgresql_where=_CORRECTING,
    )


def _make_entries() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column(
            "transaction", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        *_text("account"),
        *_big("amount"),
        sa.PrimaryKeyConstraint("transaction", "account", name="pk_ledger_entries"),
        sqlite_with_rowid=False,
    )


def _make_balances() -> None:
    sums = ("charge", "cost", "input_tokens", "output_tokens")
    op.create_table(
        "ledger_balances",
        *_text("tenant"),
        _small("level"),
        *_text("name"),
        _currency(),
        sa.Column("quarter", sa.BigInteger(), autoincrement=False, nullable=False),
        *_big("charge", "cost", "requests", "input_tokens", "output_tokens"),
        sa.PrimaryKeyConstraint("tenant", "level", "name", "currency", "quarter", name="pk_ledger_balances"),
        *(
            sa.CheckConstraint(f"{name} BETWEEN -4611686018427387904 AND 4611686018427387904", name=name)
            for name in sums
        ),
        sqlite_with_rowid=False,
    )


def _make_quarantine() -> None:
    op.create_table(
        "ledger_quarantine",
        _id("id"),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("fact", sa.LargeBinary(), nullable=False),
        *_text("reason"),
        sa.Column("tries", sa.Integer(), nullable=False),
        _currency(),
        *_big("amount", "since"),
        *_big("resolved", nullable=True),
        *_text("resolution", "actor"),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_quarantine"),
        _sixteen("id"),
    )


def _make_stated() -> None:
    op.create_table(
        "ledger_stated",
        _id("request"),
        _small("attempt"),
        *_text("statement"),
        *_big("amount", "at"),
        sa.PrimaryKeyConstraint("request", "attempt", name="pk_ledger_stated"),
        _sixteen("request"),
    )


def _guard_sqlite() -> None:
    for table in _APPEND_ONLY:
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} can only be added to'); END"
            )
    op.execute(
        "CREATE TRIGGER ledger_requests_no_delete BEFORE DELETE ON ledger_requests"
        " BEGIN SELECT RAISE(ABORT, 'a request stays in the books'); END"
    )
    op.execute(
        "CREATE TRIGGER ledger_requests_final BEFORE UPDATE ON ledger_requests"
        " WHEN OLD.state IN (5, 6) AND NEW.state <> OLD.state"
        " BEGIN SELECT RAISE(ABORT, 'a request that is over stays over'); END"
    )


def _guard_postgresql() -> None:
    _make_functions()
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()"
        )
        op.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM PUBLIC, CURRENT_USER")
    op.execute(
        "CREATE TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_unbalanced()"
    )
    op.execute(
        "CREATE TRIGGER ledger_requests_no_delete BEFORE DELETE OR TRUNCATE ON ledger_requests"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()"
    )
    op.execute(
        "CREATE TRIGGER ledger_requests_final BEFORE UPDATE ON ledger_requests FOR EACH ROW"
        " WHEN (OLD.state IN (5, 6) AND NEW.state <> OLD.state) EXECUTE FUNCTION ledger_refuse_reopening()"
    )


def _make_functions() -> None:
    op.execute(
        "CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION '% can only be added to', TG_TABLE_NAME; END $$"
    )
    op.execute(
        "CREATE FUNCTION ledger_refuse_reopening() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'a request that is over stays over'; END $$"
    )
    op.execute(
        "CREATE FUNCTION ledger_refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        ' IF EXISTS (SELECT 1 FROM added GROUP BY "transaction" HAVING sum(amount) <> 0 OR count(*) < 2) THEN'
        " RAISE EXCEPTION 'entries of a transaction must sum to zero'; END IF; RETURN NULL; END $$"
    )
