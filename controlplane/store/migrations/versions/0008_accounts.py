"""A transaction names its two accounts itself, and its two entries are a view of it.

Every transaction ever written has one debit and one credit of its amount. Each was three rows; now it is one. Books in
which a transaction has other entries are left as they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008_accounts"
down_revision = "0007_markup"
branch_labels = None
depends_on = None

_COLUMNS = (
    "seq, id, book, kind, request, attempt, corrects, currency, amount, claimed, posted, admitted,"
    " tenant, model, endpoint, price, usage, flags, reason, actor"
)


def _account(amount: str, cost: str, refund: str, charge: str) -> str:
    """Of a transaction of nothing, both entries are 0, and told apart by their names (COST is 1, REFUNDED is 5)."""
    name = f"CASE WHEN t.book = 1 THEN '{cost}:%' WHEN t.kind = 5 THEN '{refund}:%' ELSE '{charge}:%' END"
    return (
        "SELECT min(e.account) FROM ledger_entries e"  # noqa: S608
        f' WHERE e."transaction" = t.seq AND e.amount = {amount} AND (t.amount <> 0 OR e.account LIKE {name})'
    )


_DEBIT = _account("t.amount", "expense", "refunds", "receivable")
_CREDIT = _account("-t.amount", "payable", "receivable", "revenue")

_VIEW = (
    'CREATE VIEW ledger_entries AS SELECT seq AS "transaction", debit AS account, amount FROM ledger_transactions'
    " UNION ALL SELECT seq, credit, -amount FROM ledger_transactions"
)


def upgrade() -> None:
    """Moves the accounts. Raises RuntimeError, before anything is changed, where entries are not two of an amount."""
    _refuse_unbalanced()
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_sqlite()
    else:
        _alter_postgresql()
    op.execute(_VIEW)


def downgrade() -> None:
    """Makes entries rows again."""
    op.execute("DROP VIEW ledger_entries")
    _make_entries()
    op.execute(
        "INSERT INTO ledger_entries SELECT seq, debit, amount FROM ledger_transactions"
        " UNION ALL SELECT seq, credit, -amount FROM ledger_transactions"
    )
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite("ledger_entries")
        _make_transactions("ledger_transactions_next", ())
        _replace_sqlite(f"INSERT INTO ledger_transactions_next SELECT {_COLUMNS} FROM ledger_transactions")  # noqa: S608
        return
    op.execute("ALTER TABLE ledger_transactions DROP CONSTRAINT ck_ledger_transactions_accounts")
    for name in ("debit", "credit"):
        op.execute(f"ALTER TABLE ledger_transactions DROP COLUMN {name}")
    _guard_postgresql()


def _refuse_unbalanced() -> None:
    own = 'SELECT count(*) FROM ledger_entries e WHERE e."transaction" = t.seq'
    there = 'SELECT 1 FROM ledger_transactions t WHERE t.seq = e."transaction"'
    wrong = _count(f"ledger_transactions t WHERE ({_DEBIT}) IS NULL OR ({_CREDIT}) IS NULL OR ({own}) <> 2")
    orphans = _count(f"ledger_entries e WHERE NOT EXISTS ({there})")
    if wrong or orphans:
        raise RuntimeError(
            f"the ledger was changed by hand: {wrong} transactions without their two entries, {orphans} entries of no"
            " transaction. Nothing was upgraded: restore a backup, or mend the entries with the release that wrote them"
        )


def _count(rows: str) -> int:
    return int(op.get_bind().execute(sa.text(f"SELECT count(*) FROM {rows}")).scalar_one())  # noqa: S608


def _rebuild_sqlite() -> None:
    """SQLite adds no column that must have a value to a table that has rows."""
    accounts = (
        sa.Column("debit", sa.Text(), nullable=False),
        sa.Column("credit", sa.Text(), nullable=False),
        sa.CheckConstraint("debit <> credit", name="accounts"),
    )
    _make_transactions("ledger_transactions_next", accounts)
    _replace_sqlite(
        f"INSERT INTO ledger_transactions_next SELECT {_COLUMNS}, ({_DEBIT}), ({_CREDIT})"  # noqa: S608
        " FROM ledger_transactions t ORDER BY seq",
        "DROP TABLE ledger_entries",
    )


def _replace_sqlite(*steps: str) -> None:
    for step in (
        *steps,
        "DROP TABLE ledger_transactions",
        "ALTER TABLE ledger_transactions_next RENAME TO ledger_transactions",
        "CREATE INDEX ix_ledger_transactions_admitted ON ledger_transactions (admitted)",
        "CREATE INDEX ix_ledger_transactions_corrects ON ledger_transactions (corrects) WHERE corrects IS NOT NULL",
    ):
        op.execute(step)
    _guard_sqlite("ledger_transactions")


def _guard_sqlite(table: str) -> None:
    for act in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{table} can only be added to'); END"
        )


def _alter_postgresql() -> None:
    """Its owner gives itself the right to change transactions for this one statement."""
    for step in (
        "ALTER TABLE ledger_transactions ADD COLUMN debit TEXT, ADD COLUMN credit TEXT",
        "GRANT UPDATE ON ledger_transactions TO CURRENT_USER",
        "ALTER TABLE ledger_transactions DISABLE TRIGGER ledger_transactions_append_only",
        f"UPDATE ledger_transactions t SET debit = ({_DEBIT}), credit = ({_CREDIT})",  # noqa: S608
        "ALTER TABLE ledger_transactions ENABLE TRIGGER ledger_transactions_append_only",
        "REVOKE UPDATE ON ledger_transactions FROM CURRENT_USER",
        "ALTER TABLE ledger_transactions ALTER debit SET NOT NULL, ALTER credit SET NOT NULL,"
        " ADD CONSTRAINT ck_ledger_transactions_accounts CHECK (debit <> credit)",
        "DROP TABLE ledger_entries",
        "DROP FUNCTION ledger_refuse_unbalanced()",
    ):
        op.execute(step)


def _make_transactions(name: str, accounts: tuple[sa.Column[str] | sa.CheckConstraint, ...]) -> None:
    columns = [part for part in accounts if isinstance(part, sa.Column)]
    checks = [part for part in accounts if not isinstance(part, sa.Column)]
    small, big, text = sa.SmallInteger(), sa.BigInteger(), sa.Text()
    op.create_table(
        name,
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        *(sa.Column(one, small, nullable=False) for one in ("book", "kind")),
        sa.Column("request", sa.LargeBinary(16), nullable=False),
        sa.Column("attempt", small, nullable=False),
        sa.Column("corrects", sa.LargeBinary(16)),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount", big, nullable=False),
        sa.Column("claimed", big),
        *(sa.Column(one, big, nullable=False) for one in ("posted", "admitted")),
        *(sa.Column(one, text, nullable=False) for one in ("tenant", "model", "endpoint", "price", "usage")),
        sa.Column("flags", sa.Integer(), nullable=False),
        *(sa.Column(one, text, nullable=False) for one in ("reason", "actor")),
        *columns,
        sa.PrimaryKeyConstraint("seq", name="pk_ledger_transactions"),
        sa.UniqueConstraint("id", name="uq_ledger_transactions_id"),
        sa.CheckConstraint("length(id) = 16", name=op.f("ck_ledger_transactions_id_16")),
        sa.CheckConstraint("length(request) = 16", name=op.f("ck_ledger_transactions_request_16")),
        *(sa.CheckConstraint(one.sqltext, name=op.f(f"ck_ledger_transactions_{one.name}")) for one in checks),
    )


def _make_entries() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column(
            "transaction", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("transaction", "account", name="pk_ledger_entries"),
        sqlite_with_rowid=False,
    )


def _guard_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION ledger_refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        ' IF EXISTS (SELECT 1 FROM added GROUP BY "transaction" HAVING sum(amount) <> 0 OR count(*) < 2) THEN'
        " RAISE EXCEPTION 'entries of a transaction must sum to zero'; END IF; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()"
    )
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON ledger_entries FROM PUBLIC, CURRENT_USER")
    op.execute(
        "CREATE TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_unbalanced()"
    )
