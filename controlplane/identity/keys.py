"""Keys: issued, edited, rotated, revoked. The secret is shown once and never stored.

Owns `keys` and `key_secrets`. What all objects share is in `changes`. A rotated secret stays good until a moment; the
hash of one that is over, or of a revoked key, is removed. Every method takes who asks and raises a Problem.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.access.grants import check_expiry_grant, check_scope_grant
from controlplane.access.principal import Principal
from controlplane.audit.trail import Change, Trail
from controlplane.identity.changes import bury, check_expiry, edit, first_values, refuse_file, subject_of, write_new
from controlplane.identity.directory import Above
from controlplane.identity.objects import KEY, MICROS, USER, find, owners_scopes, view_fields, visible
from controlplane.identity.scope import meet_all
from controlplane.identity.shapes import IssuedKey, KeyDraft, KeyEdits, KeyView, Rotation, SecretView
from controlplane.identity.tables import KEY_SECRETS, KEYS
from controlplane.ids import check_id
from controlplane.paging import Listing, Page, cut, next_of
from controlplane.problem import conflict
from controlplane.store.database import Database
from fastpath.settings.secret import Secret
from fastpath.settings.token import KeyHasher, new_token, public_id

#: Secrets of one key that may be good at the same time: each is a row of every worker's table.
MOST_SECRETS: Final = 8


class Keys:
    """Callers' keys."""

    def __init__(self, database: Database, trail: Trail, hasher: KeyHasher) -> None:
        self._database = database
        self._trail = trail
        self._hasher = hasher

    async def list(self, who: Principal, above: Above, page: Page) -> Listing[KeyView]:
        """One page of what `who` sees."""
        statement = visible(KEY, who.reach)
        for column, wanted in msgspec.structs.asdict(above).items():
            if wanted is not None:
                statement = statement.where(KEYS.c[column] == check_id(wanted, column.removesuffix("_id")))
        async with self._database.read() as connection:
            rows = list(await connection.execute(cut(statement, KEYS, page)))
            views = await _views(connection, rows[: page.limit])
        return Listing(data=views, next=next_of(rows, page))

    async def get(self, who: Principal, text: str) -> KeyView:
        """One key."""
        async with self._database.read() as connection:
            return await _view(connection, await find(connection, KEY, text, who.reach))

    async def issue(self, who: Principal, draft: KeyDraft) -> IssuedKey:
        """A new key for a user."""
        async with self._trail.change(who.actor) as change:
            user = await find(change.connection, USER, draft.user_id, who.reach)
            values = first_values(draft, change.at) | _place(user) | _expiry(draft, who, change.at)
            limit = meet_all(await owners_scopes(change.connection, USER, user))
            check_scope_grant(who, limit, draft.scope)
            await write_new(change.connection, KEYS, values)
            row = await find(change.connection, KEY, values["id"], who.reach)
            token = await self._add_secret(change, row)
            view = await _view(change.connection, row)
            await change.record("key.create", subject_of(KEY, row), None, view)
            return IssuedKey(token.reveal(), view)

    async def edit(self, who: Principal, text: str, edits: KeyEdits) -> KeyView:
        """Changes the fields that were sent."""
        async with self._trail.change(who.actor) as change:
            row = await find(change.connection, KEY, text, who.reach)
            await edit(change, KEY, row, who, edits)
            return await _view(change.connection, await find(change.connection, KEY, text, who.reach))

    async def rotate(self, who: Principal, text: str, rotation: Rotation) -> IssuedKey:
        """A new secret. The older ones stay good for `overlap` at most; 0 ends them at once."""
        async with self._trail.change(who.actor) as change:
            row = await find(change.connection, KEY, text, who.reach)
            refuse_file(row)
            before = await _view(change.connection, row)
            await _retire(change, row, rotation)
            token = await self._add_secret(change, row)
            after = await _view(change.connection, row)
            await change.record(
                "key.rotate", subject_of(KEY, row), {"secrets": before.secrets}, {"secrets": after.secrets}
            )
            return IssuedKey(token.reveal(), after)

    async def revoke(self, who: Principal, text: str) -> None:
        """Deletes a key and the hashes of its secrets."""
        async with self._trail.change(who.actor) as change:
            row = await find(change.connection, KEY, text, who.reach)
            await bury(change, KEY, row, await _view(change.connection, row))
            await change.connection.execute(delete(KEY_SECRETS).where(KEY_SECRETS.c.key_id == row.id))

    async def _add_secret(self, change: Change, row: Any) -> Secret:
        token = new_token()
        values = {
            "hash": self._hasher.hash_text(token.reveal()),
            "public_id": public_id(token),
            "key_id": row.id,
            "tenant_id": row.tenant_id,
            "created_at": change.at,
        }
        await change.connection.execute(insert(KEY_SECRETS).values(values))
        return token


async def _retire(change: Change, row: Any, rotation: Rotation) -> None:
    """Gives the secrets in use an end, and removes those that are over."""
    until = change.at + rotation.overlap * MICROS
    columns, own = KEY_SECRETS.c, KEY_SECRETS.c.key_id == row.id
    later = or_(columns.valid_until.is_(None), columns.valid_until > until)
    await change.connection.execute(update(KEY_SECRETS).where(own, later).values(valid_until=until))
    await change.connection.execute(delete(KEY_SECRETS).where(own, columns.valid_until <= change.at))
    left = await change.connection.execute(select(func.count()).select_from(KEY_SECRETS).where(own))
    if left.scalar_one() >= MOST_SECRETS:
        message = f"It has {MOST_SECRETS} good secrets already: rotate with a shorter overlap, 0 ends them at once."
        raise conflict(message, "too_many_secrets", "overlap")


def _place(user: Any) -> dict[str, Any]:
    return {"tenant_id": user.tenant_id, "team_id": user.team_id, "user_id": user.id}


def _expiry(draft: KeyDraft, who: Principal, at: int) -> dict[str, Any]:
    expires_at = None if draft.expires_at is None else draft.expires_at * MICROS
    check_expiry(expires_at, at)
    check_expiry_grant(who, draft.expires_at)
    return {"expires_at": expires_at}


async def _view(connection: AsyncConnection, row: Any) -> KeyView:
    (view,) = await _views(connection, [row])
    return view


async def _views(connection: AsyncConnection, rows: Sequence[Any]) -> list[KeyView]:
    """Keys with their secrets' public parts, found in one statement."""
    statement = select(KEY_SECRETS).where(KEY_SECRETS.c.key_id.in_([row.id for row in rows]))
    found: dict[str, list[SecretView]] = {row.id: [] for row in rows}
    for secret in await connection.execute(statement.order_by(KEY_SECRETS.c.created_at.desc())):
        found[secret.key_id].append(_secret_view(secret))
    return [_key_view(row, found[row.id]) for row in rows]


def _secret_view(row: Any) -> SecretView:
    until = None if row.valid_until is None else row.valid_until // MICROS
    return SecretView(row.public_id, row.created_at // MICROS, until)


def _key_view(row: Any, secrets: Sequence[SecretView]) -> KeyView:
    return KeyView(
        **view_fields(row),
        tenant_id=row.tenant_id,
        team_id=row.team_id,
        user_id=row.user_id,
        expires_at=None if row.expires_at is None else row.expires_at // MICROS,
        secrets=tuple(secrets),
    )
