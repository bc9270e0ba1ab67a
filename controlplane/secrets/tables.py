"""The table of this room: provider keys, sealed."""

from typing import Final

from sqlalchemy import Column, LargeBinary, String, Table, UniqueConstraint

from controlplane.ids import HexId
from controlplane.store.metadata import METADATA, Micros, sixteen

PROVIDER_KEYS: Final = Table(
    "provider_keys",
    METADATA,
    Column("id", HexId(), primary_key=True, nullable=False),
    Column("name", String(128), nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # see `seal`
    Column("created_at", Micros, nullable=False),
    Column("updated_at", Micros, nullable=False),
    UniqueConstraint("name"),
    sixteen("id"),
)
