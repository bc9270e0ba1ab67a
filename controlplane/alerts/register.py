"""The register of alerts: each is in it once, with the deliveries that it is due to.

Owns what becomes of facts. Does not own who is told (`destinations`) or the telling (`courier`). A calendar budget's
alert is the same by its unique key. A rolling budget has no period that begins: its alert is the same as any of the
`days` before or after, so two control processes take turns at looking. One transaction for a batch of facts.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.access.principal import Principal
from controlplane.alerts.shapes import STATES, AlertView, DeliveryView, Resent, view_alert
from controlplane.alerts.tables import ALERTS, DELIVERIES, DESTINATIONS, KEY, State
from controlplane.audit.trail import Subject, Trail
from controlplane.ids import check_id
from controlplane.paging import Listing, Page, cut, next_of
from controlplane.problem import missing
from controlplane.store.bulk import Insert
from controlplane.store.database import Database
from controlplane.store.metadata import micros
from fastpath.outbox.facts import Alert

KIND: Final = "alert"
KEPT: Final = 400 * 86_400.0
"""Seconds that alerts are kept, whatever became of them: a year and a month to look back on."""
MOST_PRUNED: Final = 1_000
_COLUMNS: Final = tuple(column.name for column in ALERTS.c)
_ADD: Final = Insert(ALERTS, _COLUMNS, key=KEY, returning=("id", "tenant"))
#: Any number that nothing else locks on in this database: "fp alert" in ASCII.
_LOCK: Final = int.from_bytes(b"fp alert")


class Register:
    """Alerts of one database. now: Unix seconds. `taken`: called when something new may be due."""

    def __init__(
        self, database: Database, trail: Trail, now: Callable[[], float], taken: Callable[[], None] = lambda: None
    ) -> None:
        self._database = database
        self._trail = trail
        self._now = now
        self._taken = taken
        self.count = 0

    async def take(self, alerts: Sequence[Alert]) -> int:
        """Registers sound alerts; how many were new. Raises StoreError: then nothing was taken."""
        rows = {row[1:11]: row for row in (_row_of(alert, micros(self._now())) for alert in alerts)}

        async def work(connection: AsyncConnection) -> int:
            return await _register(connection, list(rows.values()), micros(self._now()))

        found = await self._database.run(work)
        self.count += found
        if found:
            self._taken()
        return found

    async def prune(self) -> int:
        """Removes the oldest alerts with their deliveries, MOST_PRUNED at most; how many. Bills stay, these need not.

        None of them is told again: workers tell of periods that run. Raises StoreError.
        """
        before = micros(self._now() - KEPT)
        old = select(ALERTS.c.id).where(ALERTS.c.created_at < before).order_by(ALERTS.c.created_at).limit(MOST_PRUNED)

        async def work(connection: AsyncConnection) -> int:
            found = [row.id for row in await connection.execute(old)]
            await connection.execute(delete(DELIVERIES).where(DELIVERIES.c.alert_id.in_(found)))
            return (await connection.execute(delete(ALERTS).where(ALERTS.c.id.in_(found)))).rowcount

        return await self._database.run(work)

    async def list(self, who: Principal, page: Page, state: str | None) -> Listing[AlertView]:
        """One page of the alerts that `who` sees, each with its deliveries."""
        statement = _visible(who)
        if state is not None:
            wanted = select(DELIVERIES.c.alert_id).where(DELIVERIES.c.state == int(STATES[state]))
            statement = statement.where(ALERTS.c.id.in_(wanted))
        async with self._database.read() as connection:
            rows = [*await connection.execute(cut(statement, ALERTS, page))]
            shown = rows[: page.limit]
            deliveries = await _deliveries(connection, [row.id for row in shown], who)
        return Listing(data=[view_alert(row, deliveries.get(row.id, [])) for row in shown], next=next_of(rows, page))

    async def get(self, who: Principal, text: str) -> AlertView:
        """One alert."""
        async with self._database.read() as connection:
            row = await _find(connection, who, text)
            return view_alert(row, (await _deliveries(connection, [row.id], who)).get(row.id, []))

    async def resend(self, who: Principal, text: str) -> Resent:
        """Lets what nobody took be tried anew, from the first try on."""
        async with self._trail.change(who.actor) as change:
            row = await _find(change.connection, who, text)
            dead = and_(DELIVERIES.c.alert_id == row.id, DELIVERIES.c.state == int(State.DEAD))
            statement = update(DELIVERIES).where(dead, DELIVERIES.c.destination_id.in_(_alive(who)))
            values = {"state": int(State.WAITING), "tries": 0, "due_at": change.at, "updated_at": change.at}
            count = (await change.connection.execute(statement.values(**values))).rowcount
            if count:
                await change.record("alert.resend", Subject(KIND, row.id, who.tenant), None, {"deliveries": count})
        self._taken()
        return Resent(count)


def alert_id(key: tuple[Any, ...]) -> str:
    """The same for the same alert, so that every control process sends it under one id."""
    return hashlib.blake2b(msgspec.msgpack.encode(key), digest_size=16, person=b"fp-budget-alert").hexdigest()


def _row_of(alert: Alert, now: int) -> tuple[Any, ...]:
    key = (
        *(alert.tenant, alert.scope, "/".join(alert.owner), alert.budget, alert.kind, alert.currency),
        *(alert.span, alert.days, alert.percent, alert.period),
    )
    return (
        bytes.fromhex(alert_id(key)),
        *key,
        *(alert.action, alert.spent, alert.whole, micros(alert.ts), now),
    )


async def _register(connection: AsyncConnection, rows: list[tuple[Any, ...]], now: int) -> int:
    rolling = [row for row in rows if row[7] == "rolling"]
    if rolling and connection.dialect.name == "postgresql":
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    fresh = [row for row in rows if row[7] != "rolling"]
    found = list(await _ADD.run(connection, fresh)) if fresh else []
    for row in sorted(rolling):
        if not (await connection.execute(_near(row))).scalar_one():
            found += await _ADD.run(connection, [row])
    for added in found:
        await _fan_out(connection, bytes(added.id).hex(), added.tenant, now)
    return len(found)


def _near(row: tuple[Any, ...]) -> Select[Any]:
    """How many alerts there are of the same rolling budget and percent within its days."""
    named = dict(zip(_COLUMNS, row, strict=True))
    same = [ALERTS.c[name] == named[name] for name in KEY if name != "period"]
    first, last = named["period"] - named["days"], named["period"] + named["days"]
    return select(func.count()).select_from(ALERTS).where(*same, ALERTS.c.period > first, ALERTS.c.period < last)


async def _fan_out(connection: AsyncConnection, alert: str, tenant: str, now: int) -> None:
    """One delivery for each destination that there is at this moment."""
    columns = DESTINATIONS.c
    reached = or_(columns.tenant.is_(None), columns.tenant == tenant)
    statement = select(columns.id).where(reached, columns.deleted_at.is_(None), columns.disabled.is_(False))
    waiting = {"state": int(State.WAITING), "tries": 0, "due_at": now, "problem": "", "updated_at": now}
    values = [{"alert_id": alert, "destination_id": row.id, **waiting} for row in await connection.execute(statement)]
    if values:
        await connection.execute(insert(DELIVERIES), values)


def _visible(who: Principal) -> Select[Any]:
    statement = select(ALERTS)
    return statement if who.tenant is None else statement.where(ALERTS.c.tenant == who.tenant)


async def _find(connection: AsyncConnection, who: Principal, text: str) -> Any:
    row = (await connection.execute(_visible(who).where(ALERTS.c.id == check_id(text, KIND)))).first()
    if row is None:
        raise missing(KIND)
    return row


def _in_reach(who: Principal) -> Select[Any]:
    """Destinations that `who` may know of: a tenant does not learn who else is told."""
    mine: ColumnElement[bool] = DESTINATIONS.c.tenant == who.tenant
    statement = select(DESTINATIONS.c.id)
    return statement if who.tenant is None else statement.where(mine)


def _alive(who: Principal) -> Select[Any]:
    return _in_reach(who).where(DESTINATIONS.c.deleted_at.is_(None))


async def _deliveries(
    connection: AsyncConnection, alerts: Collection[str], who: Principal
) -> dict[str, list[DeliveryView]]:
    """By alert, in the order in which their destinations were made."""
    joined = DELIVERIES.join(DESTINATIONS, DESTINATIONS.c.id == DELIVERIES.c.destination_id)
    statement = (
        select(*DELIVERIES.c, DESTINATIONS.c.name)
        .select_from(joined)
        .where(DELIVERIES.c.alert_id.in_(alerts), DESTINATIONS.c.id.in_(_in_reach(who)))
        .order_by(DESTINATIONS.c.created_at, DESTINATIONS.c.id)
    )
    found: dict[str, list[DeliveryView]] = {}
    for row in await connection.execute(statement):
        found.setdefault(row.alert_id, []).append(DeliveryView.of(row))
    return found
