"""Books that someone has been at: what the databases refuse, and what the checker finds when they could not."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from controlplane.ledger.books import Ledger
from controlplane.store.database import Database
from tests.controlplane.ledger.facts import SECRET, Now, end, intent, mark
from tests.controlplane.store.cluster import Cluster

Execute = Callable[[str], Awaitable[None]]


@pytest.fixture
async def settled(ledger: Ledger) -> Ledger:
    await ledger.settlement.settle([fact for n in (1, 2) for fact in (intent(n), end(n))])
    assert await ledger.violations(at_rest=True) == []
    return ledger


@pytest.mark.parametrize("table", ["ledger_transactions", "ledger_entries"])
@pytest.mark.parametrize("act", ["UPDATE {} SET amount = 0", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_books_can_only_be_added_to(settled: Ledger, database: Database, table: str, act: str) -> None:
    with pytest.raises(
        DBAPIError,
        match=r"permission denied|can only be added to|syntax error|(?i:cannot \w+( from)? view|is a view)|not a table",
    ):
        async with database.begin() as connection:
            await connection.exec_driver_sql(act.format(table))
    assert await settled.violations(at_rest=True) == []


@pytest.mark.parametrize(
    ("table", "refusal"),
    [
        ("ledger_transactions", "can only be added to"),
        ("ledger_entries", r"cannot (update|delete from) view|not a table"),
    ],
)
@pytest.mark.parametrize("act", ["UPDATE {} SET amount = 0", "DELETE FROM {}", "TRUNCATE {}"])
async def test_not_even_by_a_superuser(cluster: Cluster, migrated: str, table: str, refusal: str, act: str) -> None:
    name = cluster.create_database(migrated)
    with pytest.raises(AssertionError, match=refusal):
        cluster.sql(act.format(table), name)


async def test_replacing_a_row_is_deleting_it(settled: Ledger, database: Database) -> None:
    if database.dialect == "sqlite":
        with pytest.raises(DBAPIError, match="can only be added to"):
            async with database.begin() as connection:
                await connection.exec_driver_sql("REPLACE INTO ledger_transactions SELECT * FROM ledger_transactions")


async def test_a_request_that_is_over_stays_over(settled: Ledger, database: Database) -> None:
    for act in ("UPDATE ledger_requests SET state = 1", "DELETE FROM ledger_requests"):
        with pytest.raises(DBAPIError, match=r"stays|can only be added to"):
            async with database.begin() as connection:
                await connection.exec_driver_sql(act)


async def test_entries_are_those_of_transactions_and_no_others(settled: Ledger, database: Database) -> None:
    async with database.read() as connection:
        query = 'SELECT "transaction", account, amount FROM ledger_entries ORDER BY 1, 3 DESC'
        rows = [tuple(row) for row in await connection.exec_driver_sql(query)]
    assert len(rows) == 8
    for debit, credit in zip(rows[::2], rows[1::2], strict=True):
        assert (debit[0], debit[2] + credit[2]) == (credit[0], 0)
        assert debit[2] > 0
        assert (debit[1], credit[1]) in {
            ("receivable:acme", "revenue:gpt-x"),
            ("expense:openai-1", "payable:openai-1"),
        }
    with pytest.raises(DBAPIError, match="view"):
        async with database.begin() as connection:
            await connection.exec_driver_sql("INSERT INTO ledger_entries VALUES (99, 'a', 5), (99, 'b', -4)")


async def test_money_moves_between_two_accounts(settled: Ledger, database: Database) -> None:
    async with database.read() as connection:
        first = (await connection.exec_driver_sql("SELECT * FROM ledger_transactions LIMIT 1")).mappings().one()
    columns = [name for name in first if name not in ("seq", "id", "credit")]
    same = f"INSERT INTO ledger_transactions (seq, id, credit, {', '.join(columns)})"
    blob = "'\\x' || repeat('00', 16)" if database.dialect == "postgresql" else "zeroblob(16)"
    blob = f"CAST({blob} AS BYTEA)" if database.dialect == "postgresql" else blob
    with pytest.raises(IntegrityError, match="ck_ledger_transactions_accounts"):
        async with database.begin() as connection:
            await connection.exec_driver_sql(
                f"{same} SELECT 99, {blob}, debit, {', '.join(columns)} FROM ledger_transactions WHERE seq = 1"
            )


def _view(amount: str, more: str = "") -> str:
    """Another view of the transactions than the one that tells the truth."""
    return (
        'VIEW ledger_entries AS SELECT seq AS "transaction", debit AS account, amount FROM ledger_transactions'
        f" UNION ALL SELECT seq, credit, {amount} FROM ledger_transactions {more}"
    )


PLANTED: dict[str, tuple[str, str]] = {
    "an entry changed": ("J1", _view("1 - amount")),
    "an entry deleted": ("J1", _view("-amount", "WHERE amount < 0")),
    "both sides changed": ("J1", "UPDATE ledger_transactions SET amount = amount * 2"),
    "an entry added": ("J1", _view("-amount", "UNION ALL SELECT 1, 'me', 5")),
    "sides of entries changed": (
        "J1",
        'VIEW ledger_entries AS SELECT seq AS "transaction", credit AS account, amount FROM ledger_transactions'
        " UNION ALL SELECT seq, debit, -amount FROM ledger_transactions",
    ),
    "entries of other transactions": (
        "J1",
        "VIEW ledger_entries AS WITH ledger_transactions(seq, debit, credit, amount)"
        " AS (VALUES (CAST(1 AS BIGINT), 'you', 'me', CAST(5 AS BIGINT)))"
        ' SELECT seq AS "transaction", debit AS account, amount FROM ledger_transactions'
        " UNION ALL SELECT seq, credit, -amount FROM ledger_transactions",
    ),
    "entries of nothing": ("J1", _view("-amount", "UNION ALL SELECT 99, 'me', 5 UNION ALL SELECT 99, 'you', -5")),
    "a debtor changed": ("J1", "UPDATE ledger_transactions SET debit = 'receivable:you' WHERE book = 2"),
    "a creditor changed": ("J1", "UPDATE ledger_transactions SET credit = 'me' WHERE book = 1"),
    "sides changed": ("J1", "UPDATE ledger_transactions SET debit = credit, credit = debit"),
    "a transaction deleted": ("J1", "DELETE FROM ledger_transactions WHERE seq = 1"),
    "an amount changed": ("J1", "UPDATE ledger_transactions SET amount = amount - 1 WHERE book = 2"),
    "a balance changed": ("J1", "UPDATE ledger_balances SET charge = charge - 1 WHERE level = 3"),
    "a balance deleted": ("J1", "DELETE FROM ledger_balances WHERE level = 0"),
    "a balance of nobody": ("J1", "UPDATE ledger_balances SET name = 'nobody' WHERE level = 2"),
    "a charge forgotten": ("J1", "UPDATE ledger_requests SET charged = 0"),
    "a refund invented": ("J1", "UPDATE ledger_requests SET refunded = 1"),
    "a request deleted": ("J2", "DELETE FROM ledger_requests"),
    "no end": ("J2", "UPDATE ledger_requests SET ended = NULL"),
    "charged twice": (
        "J2",
        "UPDATE ledger_transactions"
        " SET request = (SELECT request FROM ledger_requests ORDER BY request LIMIT 1), attempt = seq",
    ),
    "an id of one's own": ("id", "UPDATE ledger_transactions SET attempt = 2 WHERE seq = 1"),
    "reopened": ("J3", "UPDATE ledger_requests SET state = 2"),
}


@pytest.mark.parametrize("plant", PLANTED)
async def test_what_an_insider_did_is_found(
    settled: Ledger, database: Database, url: str, cluster: Cluster, plant: str
) -> None:
    rule, act = PLANTED[plant]
    acts = [act]
    if act.startswith("VIEW"):
        postgresql = database.dialect == "postgresql"
        acts = [f"CREATE OR REPLACE {act}"] if postgresql else ["DROP VIEW ledger_entries", f"CREATE {act}"]
    if database.dialect == "postgresql":
        name = url.split("@/")[1].split("?")[0]
        cluster.sql("; ".join(["SET session_replication_role = replica", *acts]), name)
    else:
        async with database.begin() as connection:
            names = (await connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all()
            for (trigger,) in names:
                await connection.exec_driver_sql(f"DROP TRIGGER {trigger}")
            for act in acts:
                await connection.exec_driver_sql(act)
    assert rule in {one.rule for one in await settled.violations(at_rest=True)}


async def test_books_without_entries_are_wrong(settled: Ledger, database: Database) -> None:
    async with database.begin() as connection:
        await connection.exec_driver_sql("DROP VIEW ledger_entries")
    assert [(one.rule, one.subject) for one in await settled.violations()] == [("J1", "ledger_entries")]


async def test_another_secret_wrote_this(settled: Ledger, database: Database, now: Now) -> None:
    other = Ledger(database, SECRET[::-1], now=now)
    assert {found.rule for found in await other.violations()} == {"id"}


async def test_what_is_open_is_no_violation_until_all_is_quiet(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(1), mark(1)])
    assert await ledger.violations() == []
    (found,) = await ledger.violations(at_rest=True)
    assert (found.rule, found.detail) == ("J3", "50000 nano-units are set aside")
