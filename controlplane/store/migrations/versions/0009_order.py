"""Requests lie in order of their ids, which begin with their millisecond, and transactions are found by their request.

A request was a row and an entry of an index; it is one row in that order now (SQLite). A transaction's id was unique
by itself, in an index of random numbers that every batch wrote all over; it is unique within its request now, which is
the same, because it is made of it. Nothing that is stored changes.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009_order"
down_revision = "0008_accounts"
branch_labels = None
depends_on = None

_CORRECTING = sa.text("corrects IS NOT NULL")
_OPEN = sa.text("state IN (1, 2, 3)")
_VIEW = (
    'CREATE VIEW ledger_entries AS SELECT seq AS "transaction", debit AS account, amount FROM ledger_transactions'
    " UNION ALL SELECT seq, credit, -amount FROM ledger_transactions"
)
_NEW = ("request", "id")
_OLD = ("id",)


def upgrade() -> None:
    """Orders them."""
    op.drop_index("ix_ledger_transactions_corrects", "ledger_transactions")
    _change(_NEW, _OLD, with_rowid=False)


def downgrade() -> None:
    """As it was. Raises IntegrityError, before anything is changed, where two requests have a transaction of one id."""
    _change(_OLD, _NEW, with_rowid=True)
    op.create_index(
        "ix_ledger_transactions_corrects",
        "ledger_transactions",
        ["corrects"],
        sqlite_where=_CORRECTING,
        postgresql_where=_CORRECTING,
    )


def _change(unique: tuple[str, ...], before: tuple[str, ...], *, with_rowid: bool) -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_transactions(unique)
        _rebuild_requests(with_rowid=with_rowid)
        return
    op.create_unique_constraint(_name(unique), "ledger_transactions", list(unique))
    op.drop_constraint(_name(before), "ledger_transactions")


def _name(columns: tuple[str, ...]) -> str:
    return str(op.f(f"uq_ledger_transactions_{'_'.join(columns)}"))


def _rebuild_transactions(unique: tuple[str, ...]) -> None:
    op.execute("DROP VIEW ledger_entries")
    _make_transactions(unique)
    op.execute("INSERT INTO ledger_next SELECT * FROM ledger_transactions ORDER BY seq")
    _replace("ledger_transactions")
    op.create_index("ix_ledger_transactions_admitted", "ledger_transactions", ["admitted"])
    for act in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER ledger_transactions_no_{act.lower()} BEFORE {act} ON ledger_transactions"
            " BEGIN SELECT RAISE(ABORT, 'ledger_transactions can only be added to'); END"
        )
    op.execute(_VIEW)


def _rebuild_requests(*, with_rowid: bool) -> None:
    _make_requests(with_rowid=with_rowid)
    op.execute("INSERT INTO ledger_next SELECT * FROM ledger_requests ORDER BY request")
    _replace("ledger_requests")
    op.create_index("ix_ledger_requests_open", "ledger_requests", ["admitted"], sqlite_where=_OPEN)
    op.execute(
        "CREATE TRIGGER ledger_requests_no_delete BEFORE DELETE ON ledger_requests"
        " BEGIN SELECT RAISE(ABORT, 'a request stays in the books'); END"
    )
    op.execute(
        "CREATE TRIGGER ledger_requests_final BEFORE UPDATE ON ledger_requests"
        " WHEN OLD.state IN (5, 6) AND NEW.state <> OLD.state"
        " BEGIN SELECT RAISE(ABORT, 'a request that is over stays over'); END"
    )


def _replace(table: str) -> None:
    op.execute(f"DROP TABLE {table}")
    op.execute(f"ALTER TABLE ledger_next RENAME TO {table}")


def _id(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(16), nullable=nullable)


def _small(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.SmallInteger(), nullable=False)


def _big(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def _text(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _check(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))


def _make_transactions(unique: tuple[str, ...]) -> None:
    """Columns in their order."""
    op.create_table(
        "ledger_next",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        _id("id"),
        _small("book"),
        _small("kind"),
        _id("request"),
        _small("attempt"),
        _id("corrects", nullable=True),
        sa.Column("currency", sa.String(3), nullable=False),
        *_big("amount"),
        *_big("claimed", nullable=True),
        *_big("posted", "admitted"),
        *_text("tenant", "model", "endpoint", "price", "usage"),
        sa.Column("flags", sa.Integer(), nullable=False),
        *_text("reason", "actor", "debit", "credit"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ledger_transactions")),
        sa.UniqueConstraint(*unique, name=_name(unique)),
        _check("ledger_transactions", "id_16", "length(id) = 16"),
        _check("ledger_transactions", "request_16", "length(request) = 16"),
        _check("ledger_transactions", "accounts", "debit <> credit"),
    )


def _make_requests(*, with_rowid: bool) -> None:
    """Columns in their order."""
    op.create_table(
        "ledger_next",
        _id("request"),
        _small("state"),
        *_text("tenant", "team", "user", "key", "model", "path"),
        *_big("admitted"),
        *_big("ended", nullable=True),
        sa.Column("status", sa.Integer()),
        *_text("outcome"),
        sa.Column("flags", sa.Integer(), nullable=False),
        _small("attempts"),
        sa.Column("currency", sa.String(3), nullable=False),
        *_big("reserved", "charged", "refunded", "input_tokens", "output_tokens"),
        sa.Column("early", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("request", name=op.f("pk_ledger_requests")),
        _check("ledger_requests", "request_16", "length(request) = 16"),
        _check("ledger_requests", "reserved", "reserved >= 0"),
        _check("ledger_requests", "refunded", "refunded >= 0 AND refunded <= charged"),
        sqlite_with_rowid=with_rowid,
    )
