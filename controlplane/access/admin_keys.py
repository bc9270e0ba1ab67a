"""Admin keys: issued, edited, deleted. The first one comes from `bootstrap`.

Owns `admin_keys`. A tenant's admin sees and makes those of its tenant only. The last key that can do everything cannot
be lost here. Every method takes who asks and raises a Problem.
"""

from typing import Any

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.access.credentials import MICROS
from controlplane.access.grants import check_enable, check_expiry_grant, check_role_grant
from controlplane.access.principal import Principal, Reach
from controlplane.access.roles import Role
from controlplane.access.shapes import AdminKeyDraft, AdminKeyEdits, AdminKeyView, IssuedAdminKey
from controlplane.access.tables import ADMIN_KEYS
from controlplane.audit.trail import Change, Subject, Trail
from controlplane.identity.changes import check_expiry, name_taken
from controlplane.identity.objects import TENANT, USER, find
from controlplane.identity.shapes import check_name, sent
from controlplane.ids import check_id, new_id
from controlplane.paging import Listing, Page, cut, next_of
from controlplane.problem import conflict, invalid, missing
from controlplane.store.database import Database
from fastpath.settings.secret import Secret
from fastpath.settings.token import KeyHasher, new_token, public_id

KIND = "admin key"


class AdminKeys:
    """Keys for the admin API."""

    def __init__(self, database: Database, trail: Trail, hasher: KeyHasher) -> None:
        self._database = database
        self._trail = trail
        self._hasher = hasher

    async def list(self, who: Principal, page: Page) -> Listing[AdminKeyView]:
        """One page of what `who` sees."""
        async with self._database.read() as connection:
            rows = list(await connection.execute(cut(_visible(who.reach), ADMIN_KEYS, page)))
        return Listing(data=[_view(row) for row in rows[: page.limit]], next=next_of(rows, page))

    async def get(self, who: Principal, text: str) -> AdminKeyView:
        """One admin key."""
        async with self._database.read() as connection:
            return _view(await _find(connection, text, who.reach))

    async def issue(self, who: Principal, draft: AdminKeyDraft) -> IssuedAdminKey:
        """A new admin key. Its role is at most what `who` may grant, its place within `who`'s reach."""
        async with self._trail.change(who.actor) as change:
            check_role_grant(who, draft.role)
            check_expiry_grant(who, draft.expires_at)
            tenant = await _place(change.connection, who, draft)
            return await insert_admin_key(change, self._hasher, draft, tenant)

    async def edit(self, who: Principal, text: str, edits: AdminKeyEdits) -> AdminKeyView:
        """Changes the fields that were sent."""
        async with self._trail.change(who.actor) as change:
            row = await _find(change.connection, text, who.reach)
            await _edit(change, row, who, edits)
            return _view(await _find(change.connection, text, who.reach))

    async def delete(self, who: Principal, text: str) -> None:
        """Deletes an admin key: it is refused from now on."""
        async with self._trail.change(who.actor) as change:
            row = await _find(change.connection, text, who.reach)
            await _keep_one_admin(change.connection, row)
            await change.connection.execute(delete(ADMIN_KEYS).where(ADMIN_KEYS.c.id == row.id))
            await change.record("admin_key.delete", _subject(row), _view(row), None)


async def insert_admin_key(
    change: Change, hasher: KeyHasher, draft: AdminKeyDraft, tenant: str | None
) -> IssuedAdminKey:
    """Writes a new admin key that was found to be allowed. Raises a 400 or 409."""
    problem = check_name(draft.name)
    if problem is not None:
        raise invalid(f"`name` {problem}.", "name")
    token = new_token()
    values: dict[str, Any] = _first_values(draft, change.at) | _hashes(hasher, token) | {"tenant_id": tenant}
    check_expiry(values["expires_at"], change.at)
    try:
        await change.connection.execute(insert(ADMIN_KEYS).values(values))
    except IntegrityError as error:
        raise name_taken() from error
    row = await _find(change.connection, values["id"], Reach())
    view = _view(row)
    await change.record("admin_key.create", _subject(row), None, view)
    return IssuedAdminKey(token.reveal(), view)


def _first_values(draft: AdminKeyDraft, at: int) -> dict[str, Any]:
    return {
        "id": new_id(),
        "name": draft.name,
        "role": draft.role.value,
        "user_id": draft.user_id,
        "disabled": False,
        "expires_at": None if draft.expires_at is None else draft.expires_at * MICROS,
        "created_at": at,
        "updated_at": at,
    }


def _hashes(hasher: KeyHasher, token: Secret) -> dict[str, str]:
    return {"public_id": public_id(token), "hash": hasher.hash_text(token.reveal())}


async def _place(connection: AsyncConnection, who: Principal, draft: AdminKeyDraft) -> str | None:
    """The tenant of a new admin key. Raises a 400 when its role needs another place, 404 for one out of reach."""
    if draft.role is Role.DEVELOPER:
        if draft.user_id is None:
            raise invalid("A developer's admin key needs `user_id`.", "user_id")
        user = await find(connection, USER, draft.user_id, who.reach)
        if draft.tenant_id not in (None, user.tenant_id):
            raise invalid("`tenant_id` is not the user's: leave it out.", "tenant_id")
        return str(user.tenant_id)
    if draft.user_id is not None:
        raise invalid(f"A key with the role {draft.role} has no `user_id`.", "user_id")
    if draft.role is Role.TENANT_ADMIN:
        if draft.tenant_id is None:
            raise invalid("A tenant-admin's key needs `tenant_id`.", "tenant_id")
        return str((await find(connection, TENANT, draft.tenant_id, who.reach)).id)
    if draft.tenant_id is not None:
        raise invalid(f"A key with the role {draft.role} has no `tenant_id`.", "tenant_id")
    return None


async def _edit(change: Change, row: Any, who: Principal, edits: AdminKeyEdits) -> None:
    wanted = sent(edits)
    if "name" in wanted and (problem := check_name(wanted["name"])) is not None:
        raise invalid(f"`name` {problem}.", "name")
    if "expires_at" in wanted:
        check_expiry_grant(who, wanted["expires_at"])
        wanted["expires_at"] = None if wanted["expires_at"] is None else wanted["expires_at"] * MICROS
        check_expiry(wanted["expires_at"], change.at)
    if wanted.get("disabled") is False:
        check_enable(who, row.disabled_by)
    changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    if not changed:
        return
    if changed.get("disabled") or changed.get("expires_at") is not None:
        await _keep_one_admin(change.connection, row)
    before = {name: getattr(_view(row), name) for name in changed}
    if "disabled" in changed:
        changed["disabled_by"] = who.role.value if changed["disabled"] else None
    await _write(change, row, changed)
    view = _view(await _find(change.connection, row.id, Reach()))
    await change.record("admin_key.edit", _subject(row), before, {name: getattr(view, name) for name in before})


async def _write(change: Change, row: Any, changed: dict[str, Any]) -> None:
    try:
        statement = update(ADMIN_KEYS).where(ADMIN_KEYS.c.id == row.id)
        await change.connection.execute(statement.values(**changed, updated_at=change.at))
    except IntegrityError as error:
        raise name_taken() from error


async def _keep_one_admin(connection: AsyncConnection, row: Any) -> None:
    """Raises a 409 when without this key nobody could administer the gateway for good."""
    columns = ADMIN_KEYS.c
    others = (columns.role == Role.ADMIN.value, columns.disabled.is_(False), columns.expires_at.is_(None))
    statement = select(func.count()).select_from(ADMIN_KEYS).where(*others, columns.id != row.id)
    if row.role == Role.ADMIN.value and not (await connection.execute(statement)).scalar_one():
        raise conflict("It is the last admin's key that stays good: make another first.", "last_admin")


def _visible(reach: Reach) -> Select[Any]:
    statement = select(ADMIN_KEYS)
    if reach.tenant is not None:
        statement = statement.where(ADMIN_KEYS.c.tenant_id == reach.tenant)
    if reach.user is not None:
        statement = statement.where(ADMIN_KEYS.c.user_id == reach.user)
    return statement


async def _find(connection: AsyncConnection, text: str, reach: Reach) -> Any:
    row = (await connection.execute(_visible(reach).where(ADMIN_KEYS.c.id == check_id(text, KIND)))).first()
    if row is None:
        raise missing(KIND)
    return row


def _subject(row: Any) -> Subject:
    return Subject("admin_key", row.id, row.tenant_id)


def _view(row: Any) -> AdminKeyView:
    return AdminKeyView(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        public_id=row.public_id,
        disabled=row.disabled,
        expires_at=None if row.expires_at is None else row.expires_at // MICROS,
        created_at=row.created_at // MICROS,
        updated_at=row.updated_at // MICROS,
    )
