"""What changed in the database since a moment, by the audit trail, which every change writes to in its own transaction.

Owns how far back the trail is asked: beyond `MOST` entries, or when it does not go on from where it was, as after a
restore, everything counts as changed. Does not own the trail.
"""

from typing import Final

from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.audit.tables import AUDIT_ENTRIES, AUDIT_HEAD
from controlplane.identity.objects import KEY, USER

MOST: Final = 1000


class Mark(Struct, frozen=True):
    """The head of the trail at one moment: it grows with every change, whoever makes it. 0: none was made yet."""

    seq: int = 0
    hash: bytes = b""


class Touched(Struct, frozen=True):
    """Kinds of what was changed, and the ids of the keys and users among it."""

    kinds: frozenset[str]
    keys: frozenset[str]
    users: frozenset[str]


async def read_mark(connection: AsyncConnection) -> Mark:
    """The head now."""
    found = (await connection.execute(select(AUDIT_HEAD.c.seq, AUDIT_HEAD.c.hash))).first()
    return Mark() if found is None else Mark(found.seq, bytes(found.hash))


async def read_touched(connection: AsyncConnection, since: Mark, now: Mark) -> Touched | None:
    """What was changed between the two. None: anything may have been. Run it in the transaction of `now`."""
    if now == since:
        return Touched(frozenset(), frozenset(), frozenset())
    if not 0 < now.seq - since.seq <= MOST or not await _goes_on(connection, since):
        return None
    columns = AUDIT_ENTRIES.c
    wanted = select(columns.kind, columns.object_id).where(columns.seq > since.seq, columns.seq <= now.seq)
    found = (await connection.execute(wanted)).all()
    if len(found) != now.seq - since.seq:
        return None  # somebody took entries out
    keys, users = (frozenset(row.object_id for row in found if row.kind == kind.name) for kind in (KEY, USER))
    return Touched(frozenset(row.kind for row in found), keys, users)


async def _goes_on(connection: AsyncConnection, since: Mark) -> bool:
    """Whether the trail still has the entry that was its head, as it was."""
    if since.seq == 0:
        return True
    found = await connection.execute(select(AUDIT_ENTRIES.c.hash).where(AUDIT_ENTRIES.c.seq == since.seq))
    kept = found.scalar_one_or_none()
    return kept is not None and bytes(kept) == since.hash
