"""The table of this room: admin keys. Only hashes are stored, under the same pepper as callers' keys."""

from typing import Final

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, String, Table, UniqueConstraint

from controlplane.ids import HexId
from controlplane.store.metadata import METADATA, Micros, name_once, sixteen

ADMIN_KEYS: Final = Table(
    "admin_keys",
    METADATA,
    Column("id", HexId(), primary_key=True, nullable=False),
    Column("name", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("tenant_id", HexId(), ForeignKey("tenants.id")),
    Column("user_id", HexId(), ForeignKey("users.id")),
    Column("public_id", String(8), nullable=False),
    Column("hash", String(76), nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("disabled_by", String(16)),
    Column("expires_at", Micros),
    Column("created_at", Micros, nullable=False),
    Column("updated_at", Micros, nullable=False),
    UniqueConstraint("hash"),
    sixteen("id"),
    CheckConstraint(
        "(role IN ('admin', 'operator', 'auditor') AND tenant_id IS NULL AND user_id IS NULL)"
        " OR (role = 'tenant-admin' AND tenant_id IS NOT NULL AND user_id IS NULL)"
        " OR (role = 'developer' AND tenant_id IS NOT NULL AND user_id IS NOT NULL)",
        name="role",
    ),
)
name_once(ADMIN_KEYS)
