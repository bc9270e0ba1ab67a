"""What all tables share: one collection, names of constraints, and the types that money, time and ids have.

Owns `METADATA`, to which every room adds its tables at import; nothing else changes it. Does not own any table.
"""

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, LargeBinary, MetaData, Table, text
from sqlalchemy.types import TypeEngine

#: Constraints have the same names on both databases, so that a migration can name what it changes.
METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: A 128-bit id, 16 bytes. Add `sixteen("column")` to its table: neither database checks a length by itself.
Id: Final[TypeEngine[bytes]] = LargeBinary(16)

#: A moment: UTC, whole microseconds since 1970. Integers compare alike everywhere and have no time zone to forget.
Micros: Final[TypeEngine[int]] = BigInteger()

#: An amount of money: whole nano-units (1e-9) of a currency.
Nano: Final[TypeEngine[int]] = BigInteger()

#: A number that the database gives out. SQLite counts only in a column declared INTEGER.
Serial: Final[TypeEngine[int]] = BigInteger().with_variant(Integer(), "sqlite")


def sixteen(column: str) -> CheckConstraint:
    """The constraint that a column of type `Id` holds 16 bytes."""
    return CheckConstraint(f"length({column}) = 16", name=f"{column}_16")


def name_once(table: Table) -> None:
    """Names are unique within a tenant, and among those of none: one that is taken elsewhere must not be told."""
    outside, inside = text("tenant_id IS NULL"), text("tenant_id IS NOT NULL")
    name, tenant = table.c.name, table.c.tenant_id
    Index(f"uq_{table.name}_name", name, unique=True, sqlite_where=outside, postgresql_where=outside)
    Index(f"uq_{table.name}_tenant_id_name", tenant, name, unique=True, sqlite_where=inside, postgresql_where=inside)


def micros(seconds: float) -> int:
    """Unix seconds as `Micros`."""
    return round(seconds * 1_000_000)
