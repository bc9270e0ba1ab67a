"""Provider keys: set, changed, removed, opened for whoever compiles a snapshot, and sealed anew row by row.

Owns `provider_keys` and the keyring in use. A rotation takes one short transaction for each row, so that all else goes
on meanwhile; stopped in the middle, it goes on from there when it is run again.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.access.principal import Actor, Principal
from controlplane.audit.trail import Change, Subject, Trail
from controlplane.identity.changes import name_taken
from controlplane.identity.shapes import check_name, sent
from controlplane.ids import check_id, new_id
from controlplane.paging import Listing, Page, cut, next_of
from controlplane.problem import invalid, missing
from controlplane.secrets.seal import Keyring, bound_row, key_id
from controlplane.secrets.shapes import ProviderKeyDraft, ProviderKeyEdits, ProviderKeyView, Resealed
from controlplane.secrets.tables import PROVIDER_KEYS
from controlplane.store.database import Database
from fastpath.settings.secret import MASK, Secret
from fastpath.settings.syntax import check_secret

KIND: Final = "provider key"
MICROS: Final = 1_000_000


class Vault:
    """Sealed provider keys. `load` reads the keyring anew; it blocks, so it runs where that does no harm.

    also: tables of other rooms, with an id and a column `sealed`, that a rotation seals anew with the keys.
    """

    def __init__(
        self,
        database: Database,
        trail: Trail,
        keyring: Keyring,
        load: Callable[[], Keyring],
        also: Sequence[Table] = (),
    ) -> None:
        self._database = database
        self._trail = trail
        self._keyring = keyring
        self._tables = (PROVIDER_KEYS, *also)
        self.load = load

    async def list(self, page: Page) -> Listing[ProviderKeyView]:
        """One page."""
        async with self._database.read() as connection:
            rows = [*await connection.execute(cut(select(PROVIDER_KEYS), PROVIDER_KEYS, page))]
        return Listing(data=[_view(row) for row in rows[: page.limit]], next=next_of(rows, page))

    async def get(self, text: str) -> ProviderKeyView:
        """One provider key, without its value."""
        async with self._database.read() as connection:
            return _view(await _find(connection, text))

    async def reveal(self, text: str) -> Secret:
        """The value, for the snapshot. Raises SealError."""
        async with self._database.read() as connection:
            row = await _find(connection, text)
        return self._keyring.open(bytes(row.sealed), row.id)

    def seal(self, secret: Secret, row: str) -> bytes:
        """Seals a secret of another room for one of its rows (`seal.bound_row`)."""
        return self._keyring.seal(secret, row)

    def open(self, sealed: bytes, row: str) -> Secret:
        """Reverse of `seal`. Raises SealError."""
        return self._keyring.open(sealed, row)

    async def create(self, who: Principal, draft: ProviderKeyDraft) -> ProviderKeyView:
        """A new provider key."""
        _check(draft.name, draft.value)
        async with self._trail.change(who.actor) as change:
            key = new_id()
            sealed = self._keyring.seal(Secret(draft.value), key)
            moments = {"created_at": change.at, "updated_at": change.at}
            await _write(change, insert(PROVIDER_KEYS).values(id=key, name=draft.name, sealed=sealed, **moments))
            view = _view(await _find(change.connection, key))
            await change.record("provider_key.create", _subject(key), None, view)
            return view

    async def edit(self, who: Principal, text: str, edits: ProviderKeyEdits) -> ProviderKeyView:
        """Changes the fields that were sent."""
        wanted = sent(edits)
        _check(wanted.get("name"), wanted.get("value"))
        async with self._trail.change(who.actor) as change:
            row = await _find(change.connection, text)
            values, before, after = self._changes(row, wanted)
            if values:
                statement = update(PROVIDER_KEYS).where(PROVIDER_KEYS.c.id == row.id)
                await _write(change, statement.values(**values, updated_at=change.at))
                await change.record("provider_key.edit", _subject(row.id), before, after)
            return _view(await _find(change.connection, text))

    async def delete(self, who: Principal, text: str) -> None:
        """Removes a provider key."""
        async with self._trail.change(who.actor) as change:
            row = await _find(change.connection, text)
            await change.connection.execute(delete(PROVIDER_KEYS).where(PROVIDER_KEYS.c.id == row.id))
            await change.record("provider_key.delete", _subject(row.id), _view(row), None)

    async def rotate(self, actor: Actor, keyring: Keyring) -> Resealed:
        """Takes a keyring into use and seals anew, one row after the other, what is under another key.

        Raises SealError for a row that this keyring cannot open; those before it are done.
        """
        found = [(table, row) for table in self._tables for row in await self._sealed(table)]
        for table, row in found:
            keyring.open(bytes(row.sealed), _bound(table, row.id))  # all can be opened, or nothing is begun
        self._keyring = keyring
        old = [(table, row.id) for table, row in found if key_id(bytes(row.sealed)) != keyring.current.id]
        done = [await self._reseal(actor, keyring, *place) for place in old]
        left = [await self._count_others(keyring, table) for table in self._tables]
        return Resealed(keyring.current.id.hex(), sum(done), sum(left))

    async def _sealed(self, table: Table) -> Sequence[Any]:
        async with self._database.read() as connection:
            return [*await connection.execute(select(table.c.id, table.c.sealed).where(table.c.sealed.is_not(None)))]

    async def _reseal(self, actor: Actor, keyring: Keyring, table: Table, row_id: str) -> bool:
        async with self._trail.change(actor) as change:
            row = (await change.connection.execute(select(table).where(table.c.id == row_id))).first()
            if row is None or row.sealed is None or key_id(bytes(row.sealed)) == keyring.current.id:
                return False  # removed or set anew meanwhile
            place = _bound(table, row.id)
            sealed = keyring.seal(keyring.open(bytes(row.sealed), place), place)
            await change.connection.execute(update(table).where(table.c.id == row_id).values(sealed=sealed))
            kind = str(table.name).removesuffix("s")
            before, after = _master(bytes(row.sealed)), _master(sealed)
            await change.record(f"{kind}.reseal", Subject(kind, row.id), before, after)
            return True

    async def _count_others(self, keyring: Keyring, table: Table) -> int:
        current = func.substr(table.c.sealed, 2, 4) != keyring.current.id
        statement = select(func.count()).select_from(table).where(current)
        async with self._database.read() as connection:
            return int((await connection.execute(statement)).scalar_one())

    def _changes(self, row: Any, wanted: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """What is written, and what the trail says of it."""
        values: dict[str, Any] = {}
        before, after = {}, {}
        if "name" in wanted and wanted["name"] != row.name:
            values["name"] = after["name"] = wanted["name"]
            before["name"] = row.name
        if "value" in wanted:
            values["sealed"] = self._keyring.seal(Secret(wanted["value"]), row.id)
            before["value"] = after["value"] = MASK
        return values, before, after


def _check(name: str | None, value: str | None) -> None:
    if name is not None and (problem := check_name(name)) is not None:
        raise invalid(f"`name` {problem}.", "name")
    if value is not None and (problem := check_secret(value)) is not None:
        raise invalid(f"`value` {problem}.", "value")


async def _write(change: Change, statement: Any) -> None:
    try:
        await change.connection.execute(statement)
    except IntegrityError as error:
        raise name_taken() from error


async def _find(connection: AsyncConnection, text: str) -> Any:
    statement = select(PROVIDER_KEYS).where(PROVIDER_KEYS.c.id == check_id(text, KIND))
    row = (await connection.execute(statement)).first()
    if row is None:
        raise missing(KIND)
    return row


def _subject(row_id: str) -> Subject:
    return Subject("provider_key", row_id)


def _bound(table: Table, row_id: str) -> str:
    return row_id if table is PROVIDER_KEYS else bound_row(table.name, row_id)


def _master(sealed: bytes) -> dict[str, str]:
    return {"master_key": key_id(sealed).hex()}


def _view(row: Any) -> ProviderKeyView:
    return ProviderKeyView(
        id=row.id,
        name=row.name,
        master_key=key_id(bytes(row.sealed)).hex(),
        created_at=row.created_at // MICROS,
        updated_at=row.updated_at // MICROS,
    )
