"""Who is told of alerts: made by the admin API, or by `control.webhooks` of the settings file.

Owns the rows of `alert_destinations`. A signing secret is made here, sealed under the master key, shown once. Into
private networks leads only a URL of the settings file or of an admin, and only to hosts that the operator named
(`allow_hosts`): what a tenant-admin wrote must be public.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Select, and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.access.principal import Actor, Principal
from controlplane.access.roles import Role
from controlplane.alerts.shapes import (
    DestinationDraft,
    DestinationEdits,
    DestinationView,
    IssuedDestination,
    view_destination,
)
from controlplane.alerts.tables import DELIVERIES, DESTINATIONS, State
from controlplane.alerts.webhook import new_secret
from controlplane.audit.trail import Change, Subject, Trail
from controlplane.identity.changes import name_taken
from controlplane.identity.objects import TENANT
from controlplane.identity.objects import find as find_object
from controlplane.identity.shapes import check_name, sent
from controlplane.ids import check_id, new_id
from controlplane.paging import Listing, Page, cut, next_of
from controlplane.problem import conflict, forbidden, invalid, missing
from controlplane.secrets.seal import SealError, bound_row
from controlplane.secrets.vault import Vault
from controlplane.store.database import Database
from fastpath.identity.token.address import ForbiddenTarget, Reach, reach_of, read_url
from fastpath.settings.control import Webhook
from fastpath.settings.secret import Secret

KIND: Final = "alert destination"
MOST: Final = 20
"""Destinations of one tenant, and of all tenants together."""
_FILE: Final = Actor("settings file")


class Destinations:
    """Destinations of one database. allowed: hosts that may have private or loopback addresses."""

    def __init__(self, database: Database, trail: Trail, vault: Vault, allowed: Collection[str]) -> None:
        self._database = database
        self._trail = trail
        self._vault = vault
        self._allowed = frozenset(allowed)

    async def list(self, who: Principal, page: Page) -> Listing[DestinationView]:
        """One page of those that `who` may see."""
        async with self._database.read() as connection:
            rows = [*await connection.execute(cut(_visible(who), DESTINATIONS, page))]
        return Listing(data=[view_destination(row) for row in rows[: page.limit]], next=next_of(rows, page))

    async def get(self, who: Principal, text: str) -> DestinationView:
        """One of them, without its secret."""
        async with self._database.read() as connection:
            return view_destination(await _find(connection, who, text))

    async def create(self, who: Principal, draft: DestinationDraft) -> IssuedDestination:
        """A new destination. Raises 400, 403, 404 or 409."""
        trusted = who.role is Role.ADMIN
        self._check(draft.name, draft.url, trusted=trusted)
        if draft.tenant_id is None and who.role is not Role.ADMIN:
            raise forbidden("Only an admin may be told of all tenants: send `tenant_id`.", param="tenant_id")
        async with self._trail.change(who.actor) as change:
            if draft.tenant_id is not None:
                await find_object(change.connection, TENANT, draft.tenant_id, who.reach)
            await _check_room(change.connection, draft.tenant_id)
            row, secret = new_id(), new_secret()
            hook = Webhook(name=draft.name, url=draft.url, secret=secret, tenant=draft.tenant_id)
            await self._insert(change, row, "api", hook, trusted=trusted)
            view = view_destination(await _find(change.connection, who, row))
            await change.record(
                "alert_destination.create", Subject("alert_destination", row, view.tenant_id), None, view
            )
        return IssuedDestination(secret.reveal(), view)

    async def edit(self, who: Principal, text: str, edits: DestinationEdits) -> DestinationView:
        """Changes the fields that were sent."""
        wanted = sent(edits)
        trusted = who.role is Role.ADMIN
        self._check(wanted.get("name"), wanted.get("url"), trusted=trusted)
        async with self._trail.change(who.actor) as change:
            row = await _find(change.connection, who, text)
            _refuse_file(row)
            changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
            if changed:
                word = {"trusted": trusted} if "url" in changed else {}
                await _write(change, row.id, changed | word)
                before = {name: getattr(row, name) for name in changed}
                await change.record("alert_destination.edit", _subject(row), before, changed)
            return view_destination(await _find(change.connection, who, text))

    async def delete(self, who: Principal, text: str) -> None:
        """Takes it away. What waits for it is not sent any more."""
        async with self._trail.change(who.actor) as change:
            row = await _find(change.connection, who, text)
            _refuse_file(row)
            await _bury(change, row)

    def open(self, row: Any) -> Secret:
        """The signing secret of a row. Raises SealError."""
        return self._vault.open(bytes(row.sealed), bound_row(DESTINATIONS.name, row.id))

    async def take_file(self, wanted: Sequence[Webhook]) -> None:
        """Brings the destinations of the settings file to what that says. Call once, at the start."""
        async with self._trail.change(_FILE) as change:
            alive = select(DESTINATIONS).where(DESTINATIONS.c.owner == "file", DESTINATIONS.c.deleted_at.is_(None))
            there = {(row.tenant, row.name): row for row in await change.connection.execute(alive)}
            for one in wanted:
                await self._take_one(change, there.pop((one.tenant, one.name), None), one)
            for row in there.values():
                await _bury(change, row)

    async def _take_one(self, change: Change, row: Any, one: Webhook) -> None:
        if row is None:
            made = new_id()
            await self._insert(change, made, "file", one, trusted=True)
            told = {"name": one.name, "url": one.url}
            await change.record("alert_destination.create", Subject("alert_destination", made), None, told)
        elif row.url != one.url or not self._holds(row, one.secret):
            sealed = self._seal(one.secret, row.id)
            await _write(change, row.id, {"url": one.url, "sealed": sealed})
            await change.record("alert_destination.edit", _subject(row), {"url": row.url}, {"url": one.url})

    def _holds(self, row: Any, secret: Secret) -> bool:
        try:
            return self.open(row) == secret
        except SealError:  # its master key is gone, and the file has the secret
            return False

    async def _insert(self, change: Change, row: str, owner: str, one: Webhook, *, trusted: bool) -> None:
        values = {
            "id": row,
            "name": one.name,
            "owner": owner,
            "tenant": one.tenant,
            "url": one.url,
            "sealed": self._seal(one.secret, row),
            "trusted": trusted,
            "disabled": False,
            "created_at": change.at,
            "updated_at": change.at,
        }
        try:
            await change.connection.execute(insert(DESTINATIONS).values(**values))
        except IntegrityError as error:
            raise name_taken() from error

    def _seal(self, secret: Secret, row: str) -> bytes:
        return self._vault.seal(secret, bound_row(DESTINATIONS.name, row))

    def _check(self, name: str | None, url: str | None, *, trusted: bool) -> None:
        if name is not None and (problem := check_name(name)) is not None:
            raise invalid(f"`name` {problem}.", "name")
        if url is not None and (problem := find_fault(url, self._allowed if trusted else ())) is not None:
            raise invalid(f"`url`: {problem}.", "url")


def find_fault(url: str, allowed: Collection[str]) -> str | None:
    """What is wrong with a URL as far as its text tells; its addresses are judged when it is asked."""
    try:
        target = read_url(url)
    except ForbiddenTarget as problem:
        return str(problem)
    if target.host in allowed:
        return None
    if target.scheme != "https":
        return "it must begin with https://"
    literal = ":" in target.host or target.host.replace(".", "").isdigit()
    if literal and reach_of(target.host) is not Reach.PUBLIC:
        return "it leads into a private network: the operator names such hosts in control.allow_hosts"
    return None


async def _check_room(connection: AsyncConnection, tenant: str | None) -> None:
    """Raises a 409 when a tenant has as many as it may: each alert is posted to all of them."""
    columns = DESTINATIONS.c
    same = columns.tenant.is_(None) if tenant is None else columns.tenant == tenant
    alive = select(func.count()).select_from(DESTINATIONS).where(same, columns.deleted_at.is_(None))
    if (await connection.execute(alive)).scalar_one() >= MOST:
        raise conflict(f"There are {MOST} destinations already: delete one first.", "too_many_destinations")


def _visible(who: Principal) -> Select[Any]:
    statement = select(DESTINATIONS).where(DESTINATIONS.c.deleted_at.is_(None))
    return statement if who.tenant is None else statement.where(DESTINATIONS.c.tenant == who.tenant)


async def _find(connection: AsyncConnection, who: Principal, text: str) -> Any:
    row = (await connection.execute(_visible(who).where(DESTINATIONS.c.id == check_id(text, KIND)))).first()
    if row is None:
        raise missing(KIND)
    return row


async def _write(change: Change, row: str, values: dict[str, Any]) -> None:
    statement = update(DESTINATIONS).where(DESTINATIONS.c.id == row)
    try:
        await change.connection.execute(statement.values(**values, updated_at=change.at))
    except IntegrityError as error:
        raise name_taken() from error


async def _bury(change: Change, row: Any) -> None:
    """Takes a destination away, and gives up what waits for it."""
    await _write(change, row.id, {"deleted_at": change.at})
    waiting = and_(DELIVERIES.c.destination_id == row.id, DELIVERIES.c.state == int(State.WAITING))
    given_up = {"state": int(State.DEAD), "problem": "its destination was deleted", "updated_at": change.at}
    await change.connection.execute(update(DELIVERIES).where(waiting).values(**given_up))
    await change.record("alert_destination.delete", _subject(row), view_destination(row), None)


def _refuse_file(row: Any) -> None:
    if row.owner == "file":
        raise conflict("It is kept in the settings file, under control.webhooks: change it there.", "owned_by_file")


def _subject(row: Any) -> Subject:
    """Tenants of the settings file have no id that the trail could name."""
    return Subject("alert_destination", row.id, row.tenant if row.owner == "api" else None)
