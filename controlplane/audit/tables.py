"""Tables of this room: the entries, and the head of their chain. Entries are only ever added."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text

from controlplane.store.metadata import METADATA, Micros

AUDIT_ENTRIES: Final = Table(
    "audit_entries",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3 without a gap
    Column("at", Micros, nullable=False),
    Column("actor_id", String(32), nullable=False),
    Column("actor_name", String(128), nullable=False),
    Column("actor_role", String(16), nullable=False),
    Column("action", String(32), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("object_id", String(64), nullable=False),
    Column("tenant_id", String(32)),
    Column("before", Text),  # JSON of the fields that changed; None: it was not there
    Column("after", Text),  # None: it is gone
    Column("hash", LargeBinary(32), nullable=False),
)

#: One row, which every change locks: so that changes come one after the other, and what one decides by stays true.
AUDIT_HEAD: Final = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)
Index("ix_audit_entries_object_id", AUDIT_ENTRIES.c.object_id)
Index("ix_audit_entries_tenant_id", AUDIT_ENTRIES.c.tenant_id)
