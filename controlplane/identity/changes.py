"""Changing an object: what is checked, written and recorded, whatever its kind.

Owns the checks that all kinds share and the one UPDATE that sets only the columns that were sent. Runs inside a
`Change`, which locks out every other one: what is checked here is still true when it is written.
"""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from sqlalchemy import Table, insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.access.grants import check_enable, check_expiry_grant, check_scope_grant
from controlplane.access.principal import Principal
from controlplane.audit.trail import Change, Subject
from controlplane.identity.objects import MICROS, TENANT, Kind, count_below, owners_scopes
from controlplane.identity.scope import FIELDS, Scope, check_scope, meet_all
from controlplane.identity.shapes import Draft, check_name, sent
from controlplane.ids import new_id
from controlplane.problem import conflict, invalid


def subject_of(kind: Kind[Any], row: Any) -> Subject:
    """The object as the audit trail names it."""
    return Subject(kind.name, row.id, row.id if kind is TENANT else row.tenant_id)


def refuse_file(row: Any) -> None:
    """Raises a 409 for an object that the settings file owns."""
    if row.owner == "file":
        raise conflict(f"It is kept in {row.source}: change it there.", "owned_by_file")


def first_values(draft: Draft, at: int) -> dict[str, Any]:
    """The columns of a new object that all kinds share. Raises a 400 for a bad name or scope."""
    _check_name(draft.name)
    check_scope(draft.scope)
    return {
        "id": new_id(),
        "name": draft.name,
        "owner": "api",
        "disabled": False,
        "created_at": at,
        "updated_at": at,
        **{field: getattr(draft, field) for field in FIELDS},
    }


async def write_new(connection: AsyncConnection, table: Table, values: Mapping[str, Any]) -> None:
    """Inserts an object's row. Raises a 409 when its name is taken."""
    try:
        await connection.execute(insert(table).values(values))
    except IntegrityError as error:
        raise name_taken() from error


async def edit(change: Change, kind: Kind[Any], row: Any, who: Principal, edits: msgspec.Struct) -> None:
    """Writes the fields that were sent and differ, and nothing else. Raises 400, 403 or 409."""
    refuse_file(row)
    wanted = _columns_of(edits)
    await _check_edits(change, kind, row, who, wanted)
    changed = {name: value for name, value in wanted.items() if _plain(getattr(row, name)) != _plain(value)}
    if not changed:
        return
    before = {name: _shown(name, getattr(row, name)) for name in changed}
    after = {name: _shown(name, value) for name, value in changed.items()}
    if "disabled" in changed:
        changed["disabled_by"] = who.role.value if changed["disabled"] else None
    try:
        statement = update(kind.table).where(kind.table.c.id == row.id)
        await change.connection.execute(statement.values(**changed, updated_at=change.at))
    except IntegrityError as error:
        raise name_taken() from error
    await change.record(f"{kind.name}.edit", subject_of(kind, row), before, after)


async def bury(change: Change, kind: Kind[Any], row: Any, view: msgspec.Struct) -> None:
    """Marks an object as deleted. Raises a 409 while it owns others."""
    refuse_file(row)
    below = await count_below(change.connection, kind, row)
    if below and kind.child is not None:
        raise conflict(f"It still owns {below} {kind.child.name}: delete or disable those first.", "not_empty")
    statement = update(kind.table).where(kind.table.c.id == row.id)
    await change.connection.execute(statement.values(deleted_at=change.at, updated_at=change.at))
    await change.record(f"{kind.name}.delete", subject_of(kind, row), view, None)


def name_taken() -> Exception:
    """What is raised when a name is in use. Only names can collide: ids and secrets are random."""
    return conflict("That name is in use here: choose another.", "name_taken", "name")


def check_time_zone(name: str) -> None:
    """Raises a 400 unless it is the name of a time zone."""
    if name == "UTC":
        return  # it needs no tables
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise invalid("`time_zone` is not an IANA name such as Europe/Berlin.", "time_zone") from error


def check_expiry(expires_at: int | None, at: int) -> None:
    """Raises a 400 for a moment that is over. expires_at and at: microseconds."""
    if expires_at is not None and expires_at <= at:
        raise invalid("`expires_at` lies in the past. Disable or delete it to end it now.", "expires_at")


def _columns_of(edits: msgspec.Struct) -> dict[str, Any]:
    values = sent(edits)
    if values.get("expires_at") is not None:
        values["expires_at"] *= MICROS
    return values


async def _check_edits(change: Change, kind: Kind[Any], row: Any, who: Principal, wanted: Mapping[str, Any]) -> None:
    for name in ("name", "disabled"):
        if name in wanted and wanted[name] is None:
            raise invalid(f"`{name}` cannot be null.", name)
    if "name" in wanted:
        _check_name(wanted["name"])
    if "time_zone" in wanted:
        check_time_zone(wanted["time_zone"])
    if "expires_at" in wanted:
        check_expiry(wanted["expires_at"], change.at)
        check_expiry_grant(who, wanted["expires_at"] and wanted["expires_at"] // MICROS)
    if wanted.get("disabled") is False:
        check_enable(who, row.disabled_by)
    await _check_scope_edits(change.connection, kind, row, who, wanted)


async def _check_scope_edits(
    connection: AsyncConnection, kind: Kind[Any], row: Any, who: Principal, wanted: Mapping[str, Any]
) -> None:
    scope = Scope(**{field: wanted[field] for field in FIELDS if field in wanted})
    if scope != Scope():
        check_scope(scope)
        above = (await owners_scopes(connection, kind, row))[:-1]
        check_scope_grant(who, meet_all(above), scope)


def _check_name(name: str) -> None:
    problem = check_name(name)
    if problem is not None:
        raise invalid(f"`name` {problem}.", "name")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(column: str, value: Any) -> Any:
    """A column's value as the API shows it."""
    return value // MICROS if column == "expires_at" and value is not None else value
