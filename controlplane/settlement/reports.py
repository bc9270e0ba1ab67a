"""What was used and what is owed, summed from the ledger.

Two ways to the same sums: balances, which hold a busy month in a few thousand rows but know no model, and transactions
with their requests, which know everything. The first is taken where it can answer. Owns the queries; changes nothing.
Reports are made one at a time, so that they leave the database's connections to those who settle and serve.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, case, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.identity.tables import TENANTS
from controlplane.ledger.balances import Period
from controlplane.ledger.tables import BALANCES, QUARTER_MICROS, REQUESTS, TRANSACTIONS, Book, Kind, Level
from controlplane.settlement.periods import day_of
from controlplane.store.database import Database

By = Literal["tenant", "team", "user", "key", "model", "day"]
BYS: Final[tuple[By, ...]] = get_args(By)
_LEVELS: Final = {"tenant": Level.TENANT, "team": Level.TEAM, "user": Level.USER, "key": Level.KEY}
_ID: Final = re.compile(r"[0-9a-f]{32}")
_SECONDS: Final = 60  # a month of millions of requests is read from the transactions at about a million a second

_B, _R, _T = BALANCES.c, REQUESTS.c, TRANSACTIONS.c


class Filter(msgspec.Struct, frozen=True):
    """Whose usage, and of what; None: any."""

    tenant: str | None = None
    team: str | None = None
    user: str | None = None
    key: str | None = None
    model: str | None = None


class Usage(msgspec.Struct):
    """Of one name in one currency. Nano-units. `charge` has every correction but `refunded`, which balances cannot
    tell: where a row is from them, `charge` is what is left and `refunded` 0."""

    name: str
    currency: str
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    charge: int = 0
    refunded: int = 0
    cost: int = 0

    @property
    def net(self) -> int:
        """What is owed."""
        return self.charge - self.refunded

    def add(self, other: "Usage") -> None:
        """Takes in another of the same name and currency."""
        for field in _SUMMED:
            setattr(self, field, getattr(self, field) + getattr(other, field))


_SUMMED: Final = Usage.__struct_fields__[2:]


class Customer(msgspec.Struct, frozen=True):
    """What the directory knows of a tenant, also of one that was deleted."""

    name: str
    currency: str
    time_zone: str


class Reports:
    """Reports of one database. now: Unix seconds."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._turn = asyncio.Semaphore(1)
        self.now = now

    async def customer(self, tenant: str) -> Customer | None:
        """None: the directory has no tenant of this id."""
        if _ID.fullmatch(tenant) is None:
            return None
        found = select(TENANTS.c.name, TENANTS.c.currency, TENANTS.c.time_zone).where(TENANTS.c.id == tenant)
        async with self._database.read() as connection:
            row = (await connection.execute(found)).first()
        return None if row is None else Customer(*row)

    async def usage(self, wanted: Filter, by: By, period: Period, zone: ZoneInfo) -> list[Usage]:
        """In order of name and currency. zone: whose days, when by day."""
        named = _is_in_balances(wanted, by)
        query = _from_balances(wanted, by, period) if named else _from_requests(wanted, by, period)
        async with self._turn, self._database.read() as connection:
            await _give_time(connection)
            rows = (await connection.execute(query)).all()
        return _joined(rows, zone if by == "day" else None)

    async def invoice(self, tenant: str, period: Period) -> list[Usage]:
        """Lines by model, from the transactions themselves."""
        async with self._turn, self._database.read() as connection:
            await _give_time(connection)
            rows = (await connection.execute(_from_requests(Filter(tenant=tenant), "model", period))).all()
        return _joined(rows, None)


async def _give_time(connection: AsyncConnection) -> None:
    """A report may take longer than a statement of a request."""
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_SECONDS}s'")


def _joined(rows: Iterable[Row[*tuple[Any, ...]]], zone: ZoneInfo | None) -> list[Usage]:
    """Rows that fall to the same name, which are many only when quarters of an hour become days of `zone`."""
    found: dict[tuple[str, str], Usage] = {}
    for row in rows:
        name = str(row[0]) if zone is None else day_of(int(row[0]), zone)
        usage = Usage(name, row[1], *(int(value) for value in row[2:]))
        known = found.setdefault((name, usage.currency), usage)
        if known is not usage:
            known.add(usage)
    return [found[key] for key in sorted(found)]


def _is_in_balances(wanted: Filter, by: By) -> bool:
    """Balances are kept for a tenant or one thing in it: no second filter, nothing finer than the first, no model."""
    named = [level for level in ("team", "user", "key") if getattr(wanted, level) is not None]
    if wanted.model is not None or by == "model" or len(named) > 1:
        return False
    return by == "day" or not named or named == [by]


def _from_balances(wanted: Filter, by: By, period: Period) -> Select[*tuple[Any, ...]]:
    named = next((level for level in ("key", "user", "team") if getattr(wanted, level) is not None), "tenant")
    level = _LEVELS[named if by == "day" else by]
    name: ColumnElement[Any] = {"tenant": _B.tenant, "day": _B.quarter * QUARTER_MICROS}.get(by, _B.name)
    sums = [func.sum(_B[column]) for column in ("requests", "input_tokens", "output_tokens", "charge")]
    # Refunds are in `charge` already, and balances do not tell them apart.
    query = (
        select(name, _B.currency, *sums, literal(0), func.sum(_B.cost))
        .where(_B.quarter >= period.start // QUARTER_MICROS, _B.quarter < period.end // QUARTER_MICROS)
        .where(_B.level == int(level))
        .group_by(name, _B.currency)
    )
    if wanted.tenant is not None:
        query = query.where(_B.tenant == wanted.tenant)
    return query if named == "tenant" else query.where(_B.name == getattr(wanted, named))


def _from_requests(wanted: Filter, by: By, period: Period) -> Select[*tuple[Any, ...]]:
    """Money by request first, so that a request with several transactions counts once."""
    booked = [_sum_of(*what) for what in (("charge", False), ("charge", True), ("cost", False))]
    money = select(_T.request, _T.currency, *(one.label(f"sum_{at}") for at, one in enumerate(booked)))
    money = money.where(_T.admitted >= period.start, _T.admitted < period.end)
    if wanted.tenant is not None:
        money = money.where(_T.tenant == wanted.tenant)
    sums = money.group_by(_T.request, _T.currency).subquery().c
    name: ColumnElement[Any] = _R.admitted - _R.admitted % QUARTER_MICROS if by == "day" else _R[by]
    own = case((sums.currency == _R.currency, 1), else_=0)
    counted = [func.sum(own), func.sum(own * _R.input_tokens), func.sum(own * _R.output_tokens)]
    totals = [func.sum(sums[f"sum_{at}"]) for at in range(len(booked))]
    query: Select[*tuple[Any, ...]] = select(name, sums.currency, *counted, *totals)
    query = query.where(_R.request == sums.request)
    for column, value in msgspec.structs.asdict(wanted).items():
        if value is not None:
            query = query.where(_R[column] == value)
    return query.group_by(name, sums.currency)


def _sum_of(book: str, refunds: bool) -> ColumnElement[int]:
    kind = _T.kind == int(Kind.REFUNDED) if refunds else _T.kind != int(Kind.REFUNDED)
    right = and_(_T.book == int(Book[book.upper()]), kind)
    return func.sum(case((right, _T.amount), else_=0))
