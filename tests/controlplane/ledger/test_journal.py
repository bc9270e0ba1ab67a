"""A transaction is written once, whoever sends it and however often."""

import asyncio

import msgspec

from controlplane.ledger.balances import Subject
from controlplane.ledger.books import Ledger
from controlplane.ledger.journal import write_postings
from controlplane.ledger.posting import Numbering, Posting, accounts_of, line_of, row_of
from controlplane.ledger.tables import TRANSACTIONS, Book, Kind
from controlplane.store.database import Database
from tests.controlplane.ledger.facts import ACME, ALWAYS, SECRET, T0, request_id


def posting(number: int, amount: int = 10, book: Book = Book.CHARGE, kind: Kind = Kind.ORIGINAL) -> Posting:
    return Posting(
        id=Numbering(SECRET).id_of(request_id(number), 1, book.name.lower()),
        book=book,
        kind=kind,
        request=request_id(number),
        attempt=1,
        currency="USD",
        amount=amount,
        posted=1,
        admitted=int(T0 * 1_000_000),
        payer=ACME,
        model="gpt-x",
        endpoint="openai-1",
    )


async def charged(ledger: Ledger) -> int:
    return sum(balance.charge for balance in await ledger.balances(Subject("acme"), ALWAYS))


async def test_a_second_insert_is_a_no_op(ledger: Ledger, database: Database) -> None:
    async with database.begin() as connection:
        assert await write_postings(connection, [posting(1), posting(2)]) == 2
    dearer = msgspec.structs.replace(posting(1), amount=99)
    for again, fresh in (([posting(1)], 0), ([posting(2), posting(3), posting(1)], 1), ([dearer], 0)):
        async with database.begin() as connection:
            assert await write_postings(connection, again) == fresh
    assert await charged(ledger) == 30


async def test_many_writers_of_the_same(ledger: Ledger, database: Database) -> None:
    batch = [posting(number) for number in range(50)]

    async def write() -> None:
        await database.run(lambda connection: write_postings(connection, batch))

    await asyncio.gather(*(write() for _ in range(8)))
    assert await charged(ledger) == 500


def test_every_posting_moves_money_between_two_accounts() -> None:
    pairs = {(book, kind): accounts_of(posting(1, 10, book, kind)) for book in Book for kind in Kind}
    assert pairs[Book.COST, Kind.ORIGINAL] == ("expense:openai-1", "payable:openai-1")
    assert pairs[Book.CHARGE, Kind.ORIGINAL] == ("receivable:acme", "revenue:gpt-x")
    assert pairs[Book.CHARGE, Kind.REFUNDED] == ("refunds:gpt-x", "receivable:acme")
    for debit, credit in pairs.values():
        assert debit != credit
    for amount in (10, 0, -10):
        row = dict(
            zip([column.name for column in TRANSACTIONS.c][1:], row_of(line_of(posting(1, amount))), strict=True)
        )
        assert (row["amount"], row["debit"], row["credit"]) == (amount, "receivable:acme", "revenue:gpt-x")
