"""Tables of the ledger. Transactions are only ever added; requests are its working state.

Owns the tables and the numbers stored in them. Does not own their triggers and the view, which the migrations make.
Ids of requests begin with their millisecond, so what is in order of them grows at its end. Ids of transactions are
random, and are looked for among those of their request.
"""

from enum import IntEnum
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from controlplane.store.metadata import METADATA, Id, Micros, Nano, Serial, sixteen


class Book(IntEnum):
    """The two ledgers."""

    COST = 1  # what providers charge
    CHARGE = 2  # what tenants pay


class Kind(IntEnum):
    """Why a transaction was posted."""

    ORIGINAL = 1  # the attempt was settled
    LATE = 2  # its true end came after it had been settled by estimate
    STATED = 3  # the provider's statement said otherwise
    ADJUSTED = 4  # a person corrected it
    REFUNDED = 5  # a person gave the money back


class Flag(IntEnum):
    """Bits: what a reader of a bill should know about it. (Not an IntFlag, whose members a driver takes for lists.)"""

    ESTIMATED = 1  # counted by us, not told by the provider
    DISPUTED = 2  # what the provider told was impossible and was clamped
    ABANDONED = 4  # the worker died: settled from its last mark
    UNPRICED = 8  # no price was known
    CORRECTED = 16  # a later transaction corrects it
    UNKNOWN_ATTEMPT = 32  # an attempt's intent never came: it is not in the books


class Level(IntEnum):
    """Whose balance."""

    TENANT = 0
    TEAM = 1
    USER = 2
    KEY = 3


#: The currency of what has no price: ISO 4217's code for none.
NO_CURRENCY: Final = "XXX"

#: Balances are kept by quarter of an hour: every time zone's days and months begin at one.
QUARTER_MICROS: Final = 900_000_000

REQUESTS: Final = Table(
    "ledger_requests",
    METADATA,
    Column("request", Id, primary_key=True),
    Column("state", SmallInteger, nullable=False),  # `states.State`
    Column("tenant", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("admitted", Micros, nullable=False),
    Column("ended", Micros),
    Column("status", Integer),
    Column("outcome", Text, nullable=False),
    Column("flags", Integer, nullable=False),
    Column("attempts", SmallInteger, nullable=False),  # the highest number seen: ids of its transactions follow from it
    Column("currency", String(3), nullable=False),
    Column("reserved", Nano, nullable=False),
    Column("charged", Nano, nullable=False),  # with its corrections, before refunds
    Column("refunded", Nano, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),  # of the attempt that was charged
    Column("output_tokens", BigInteger, nullable=False),
    Column("early", LargeBinary),  # its End, while an Intent that it needs is on its way
    sixteen("request"),
    CheckConstraint("reserved >= 0", name="reserved"),
    CheckConstraint("refunded >= 0 AND refunded <= charged", name="refunded"),
    sqlite_with_rowid=False,
)

Index(
    "ix_ledger_requests_open",
    REQUESTS.c.admitted,
    sqlite_where=REQUESTS.c.state.in_((1, 2, 3)),  # `states.OPEN`: few, and found without reading the others
    postgresql_where=REQUESTS.c.state.in_((1, 2, 3)),
)
Index(
    "ix_ledger_requests_estimated",
    REQUESTS.c.request,
    sqlite_where=REQUESTS.c.state == 4,  # `states.State.ESTIMATED`: few, too, and looked at every minute
    postgresql_where=REQUESTS.c.state == 4,
)

ATTEMPTS: Final = Table(
    "ledger_attempts",  # of requests that are not over, or whose end is an estimate
    METADATA,
    Column("request", Id, primary_key=True),
    Column("attempt", SmallInteger, primary_key=True, autoincrement=False),
    Column("intent", LargeBinary),
    Column("mark", LargeBinary),
    Column("cost", Nano),  # as posted by estimate; None: nothing was
    Column("charge", Nano),
    Column("stated", Boolean, nullable=False),  # the provider's statement has spoken: no later End overrules it
    sixteen("request"),
)

TRANSACTIONS: Final = Table(
    "ledger_transactions",
    METADATA,
    Column("seq", Serial, primary_key=True),
    Column("id", Id, nullable=False),  # `posting.Numbering`; of its request, and so never of two
    Column("book", SmallInteger, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("request", Id, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("corrects", Id),  # the original transaction that this one changes
    Column("currency", String(3), nullable=False),
    Column("amount", Nano, nullable=False),  # what its debit side sums to; below zero: it takes back
    Column("claimed", Nano),  # what the provider's usage would have cost, had it been believed
    Column("posted", Micros, nullable=False),
    Column("admitted", Micros, nullable=False),  # of the request: the period this belongs to
    Column("tenant", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("price", Text, nullable=False),  # the pinned version
    Column("usage", Text, nullable=False),  # JSON: the parts of a Billable in their order
    Column("flags", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("debit", Text, nullable=False),  # `posting.accounts_of`
    Column("credit", Text, nullable=False),
    sixteen("id"),
    sixteen("request"),
    CheckConstraint("debit <> credit", name="accounts"),
    UniqueConstraint("request", "id"),
)
Index("ix_ledger_transactions_admitted", TRANSACTIONS.c.admitted)

#: A view, and so in a collection of its own: each transaction as two entries that sum to zero.
ENTRIES: Final = Table(
    "ledger_entries",
    MetaData(),
    Column("transaction", Serial, nullable=False),  # its seq
    Column("account", Text, nullable=False),
    Column("amount", Nano, nullable=False),  # debit above zero, credit below
)

BALANCES: Final = Table(
    "ledger_balances",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),  # of the team, user or key; "" for the tenant itself
    Column("currency", String(3), primary_key=True),
    Column("quarter", BigInteger, primary_key=True, autoincrement=False),  # of admission: micros // QUARTER_MICROS
    Column("charge", Nano, nullable=False),
    Column("cost", Nano, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    # SQLite would turn a sum beyond 64 bits into a float and go on.
    *(
        CheckConstraint(f"{name} BETWEEN -4611686018427387904 AND 4611686018427387904", name=name)
        for name in ("charge", "cost", "input_tokens", "output_tokens")
    ),
    sqlite_with_rowid=False,
)

QUARANTINE: Final = Table(
    "ledger_quarantine",
    METADATA,
    Column("id", Id, primary_key=True),  # of the fact's bytes: the same fact is here once
    Column("request", LargeBinary, nullable=False),  # as it came, which may be no id
    Column("fact", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount", Nano, nullable=False),  # at stake at most, as far as the fact says
    Column("since", Micros, nullable=False),
    Column("resolved", Micros),
    Column("resolution", Text, nullable=False),
    Column("actor", Text, nullable=False),
    sixteen("id"),
)

STATED: Final = Table(
    "ledger_stated",  # what providers' statements said, once for each attempt: a later statement replaces an earlier
    METADATA,
    Column("request", Id, primary_key=True),
    Column("attempt", SmallInteger, primary_key=True, autoincrement=False),
    Column("statement", Text, nullable=False),
    Column("amount", Nano, nullable=False),
    Column("at", Micros, nullable=False),
    sixteen("request"),
)
