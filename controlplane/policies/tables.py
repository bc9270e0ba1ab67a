"""The table of this room: rules, each of one tenant or (none) of the whole gateway.

A rule's conditions stand in one column, as in a settings file: they are read and written together, and nothing asks the
database what a rule says. Of a deleted rule the audit trail says what it was.
"""

from typing import Final

from sqlalchemy import JSON, Boolean, CheckConstraint, Column, ForeignKey, Index, String, Table

from controlplane.ids import HexId
from controlplane.store.metadata import METADATA, Micros, name_once, sixteen

POLICIES: Final = Table(
    "policies",
    METADATA,
    Column("id", HexId(), primary_key=True, nullable=False),
    Column("name", String(128), nullable=False),
    Column("tenant_id", HexId(), ForeignKey("tenants.id")),
    Column("effect", String(5), nullable=False),
    Column("conditions", JSON, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("made_by", String(16), nullable=False),  # the role: lower ones leave the rule alone
    Column("created_at", Micros, nullable=False),
    Column("updated_at", Micros, nullable=False),
    sixteen("id"),
    CheckConstraint("effect = 'deny' OR (effect = 'allow' AND tenant_id IS NULL)", name="effect"),
)
name_once(POLICIES)
Index("ix_policies_created_at_id", POLICIES.c.created_at, POLICIES.c.id)
