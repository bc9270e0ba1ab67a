"""Postings: one transaction with its two accounts, in memory, and the ids that make a second one a no-op.

Owns the posting rules: which accounts a transaction moves money between. Does not own when one is posted
(`settlement`, `corrections`, `statement`) nor how it is written (`journal`). Pure.
"""

from typing import Final

import msgspec

from _native.hmac256 import Keyed
from controlplane.ledger.tables import NO_CURRENCY, QUARTER_MICROS, Book, Kind
from fastpath.outbox.facts import Payer

SECRET_SIZE: Final = 32
ID_SIZE: Final = 16


class Posting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A transaction to be. `amount` is signed: below zero the same accounts move the other way."""

    id: bytes
    book: Book
    kind: Kind
    request: bytes
    attempt: int
    corrects: bytes | None = None
    currency: str = NO_CURRENCY
    amount: int
    claimed: int | None = None
    posted: int
    admitted: int
    payer: Payer
    model: str
    endpoint: str
    price: str = ""
    usage: str = "[]"
    flags: int = 0
    reason: str = ""
    actor: str = ""
    # What it adds to its payer's balances besides money.
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def signed(self) -> int:
        """What it changes its book's balance by."""
        return -self.amount if self.kind is Kind.REFUNDED else self.amount


class Numbering:
    """Makes transaction ids: HMAC-SHA256 under the ledger's secret, so that nobody else can guess or occupy one."""

    __slots__ = ("keyed",)

    def __init__(self, secret: bytes) -> None:
        """Raises ValueError for a secret of another size than 32 bytes."""
        if len(secret) != SECRET_SIZE:
            raise ValueError(f"the ledger's secret has {len(secret)} bytes, not {SECRET_SIZE}: restore it from backup")
        self.keyed = Keyed(secret)

    def id_of(self, request: bytes, attempt: int, kind: str) -> bytes:
        """16 bytes. `request` has 16, `attempt` is written as 4: so no two inputs are the same bytes."""
        return self.keyed.digest(request + suffix_of(attempt, kind))[:ID_SIZE]


def suffix_of(attempt: int, kind: str) -> bytes:
    """What follows the request in what an id is made of: `keyed.digest(request + suffix)[:ID_SIZE]`."""
    return attempt.to_bytes(4, "big") + kind.encode()


def accounts_of(posting: Posting) -> tuple[str, str]:
    """(debit, credit) for an amount above zero: assets and expenses to the left, debts and revenue to the right."""
    if posting.book is Book.COST:
        return f"expense:{posting.endpoint}", f"payable:{posting.endpoint}"
    if posting.kind is Kind.REFUNDED:
        return f"refunds:{posting.model}", f"receivable:{posting.payer.tenant}"
    return f"receivable:{posting.payer.tenant}", f"revenue:{posting.model}"


class Line(msgspec.Struct, frozen=True, gc=False):
    """A posting as it is written. `row`: of `ledger_transactions`, without its number and its accounts. `sums`: what it
    adds to the balances of `payer` in `quarter`: charge, cost, requests, input tokens, output tokens."""

    row: tuple[object, ...]
    debit: str
    credit: str
    amount: int
    payer: Payer
    currency: str
    quarter: int
    sums: tuple[int, int, int, int, int]

    @property
    def id(self) -> bytes:
        return self.row[0]  # type: ignore[return-value]  # the first column


def line_of(posting: Posting) -> Line:
    """How a posting is written."""
    debit, credit = accounts_of(posting)
    signed = posting.signed
    charge, cost = (signed, 0) if posting.book is Book.CHARGE else (0, signed)
    sums = (charge, cost, posting.requests, posting.input_tokens, posting.output_tokens)
    quarter = posting.admitted // QUARTER_MICROS
    return Line(_row_of(posting), debit, credit, posting.amount, posting.payer, posting.currency, quarter, sums)


def row_of(line: Line) -> tuple[object, ...]:
    """Its row of `ledger_transactions`, without its number."""
    return (*line.row, line.debit, line.credit)


def _row_of(posting: Posting) -> tuple[object, ...]:
    return (
        posting.id,
        int(posting.book),
        int(posting.kind),
        posting.request,
        posting.attempt,
        posting.corrects,
        posting.currency,
        posting.amount,
        posting.claimed,
        posting.posted,
        posting.admitted,
        posting.payer.tenant,
        posting.model,
        posting.endpoint,
        posting.price,
        posting.usage,
        posting.flags,
        posting.reason,
        posting.actor,
    )
