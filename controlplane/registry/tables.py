"""The tables of this room: models, and the endpoints that serve them.

What an object says stands in one column, as in a settings file: it is read and written together, and nothing asks the
database what an endpoint says. Of a removed one the audit trail says what it was.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from controlplane.ids import HexId
from controlplane.store.metadata import METADATA, Micros, sixteen

MODELS: Final = Table(
    "models",
    METADATA,
    Column("id", HexId(), primary_key=True, nullable=False),
    Column("name", String(256), nullable=False),
    Column("says", JSON, nullable=False),  # fields of `settings.Model` that were given
    Column("created_at", Micros, nullable=False),
    Column("updated_at", Micros, nullable=False),
    UniqueConstraint("name"),
    sixteen("id"),
)
ENDPOINTS: Final = Table(
    "endpoints",
    METADATA,
    Column("id", HexId(), primary_key=True, nullable=False),
    Column("model_id", HexId(), ForeignKey("models.id"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("says", JSON, nullable=False),  # fields of `settings.Endpoint` that were given, without its key
    Column("sealed", LargeBinary),  # its key, see `secrets.seal`; NULL: none is sent
    Column("state", String(8), nullable=False),
    Column("created_at", Micros, nullable=False),
    Column("updated_at", Micros, nullable=False),
    UniqueConstraint("model_id", "name"),
    sixteen("id"),
    CheckConstraint("state IN ('active', 'draining')", name="state"),
)
for _table in (MODELS, ENDPOINTS):
    Index(f"ix_{_table.name}_created_at_id", _table.c.created_at, _table.c.id)
