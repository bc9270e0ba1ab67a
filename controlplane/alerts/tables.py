"""The tables of this room. What makes an alert the same alert is its unique key, whoever tells it and how often.

Owns columns and constraints. A delivery is one alert for one destination; it is made with the alert, in one
transaction, so that none is forgotten, and its state is only moved by the courier and by people.
"""

from enum import IntEnum
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from controlplane.ids import HexId
from controlplane.store.metadata import METADATA, Micros, sixteen


class State(IntEnum):
    """Of a delivery."""

    WAITING = 1
    DELIVERED = 2
    DEAD = 3  # nobody took it; a person may send it again


# Names are unique within a tenant: one that is taken elsewhere must not be told to anybody.
OUTSIDE: Final = text("tenant IS NULL AND deleted_at IS NULL")
INSIDE: Final = text("tenant IS NOT NULL AND deleted_at IS NULL")
DUE: Final = text("state = 1")

DESTINATIONS: Final = Table(
    "alert_destinations",
    METADATA,
    Column("id", HexId(), primary_key=True, nullable=False),
    Column("name", String(128), nullable=False),
    Column("owner", String(4), nullable=False),  # who may change it: "api", or the settings "file"
    Column("tenant", Text),  # as alerts have it; None: alerts of all tenants
    Column("url", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # the signing secret, sealed as provider keys are
    Column("trusted", Boolean, nullable=False),  # the operator's word: it may lead to hosts of `allow_hosts`
    Column("disabled", Boolean, nullable=False),
    Column("created_at", Micros, nullable=False),
    Column("updated_at", Micros, nullable=False),
    Column("deleted_at", Micros),
    sixteen("id"),
    CheckConstraint("owner IN ('api', 'file')", name="owner"),
)
Index(
    "uq_alert_destinations_name",
    DESTINATIONS.c.owner,
    DESTINATIONS.c.name,
    unique=True,
    sqlite_where=OUTSIDE,
    postgresql_where=OUTSIDE,
)
Index(
    "uq_alert_destinations_tenant_name",
    DESTINATIONS.c.owner,
    DESTINATIONS.c.tenant,
    DESTINATIONS.c.name,
    unique=True,
    sqlite_where=INSIDE,
    postgresql_where=INSIDE,
)

#: What makes two alerts the same one.
KEY: Final = ("tenant", "scope", "name", "budget", "kind", "currency", "span", "days", "percent", "period")

ALERTS: Final = Table(
    "budget_alerts",
    METADATA,
    Column("id", HexId(), primary_key=True, nullable=False),
    Column("tenant", Text, nullable=False),  # as the ledger has it: an id, or a name of the settings file
    Column("scope", String(8), nullable=False),
    Column("name", Text, nullable=False),  # the owner's names in the settings, joined by slashes
    Column("budget", Text, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("span", String(8), nullable=False),
    Column("days", SmallInteger, nullable=False),
    Column("percent", Integer, nullable=False),
    Column("period", Integer, nullable=False),  # days since 1970
    Column("action", String(16), nullable=False),
    Column("spent", BigInteger, nullable=False),
    Column("whole", BigInteger, nullable=False),
    Column("crossed_at", Micros, nullable=False),
    Column("created_at", Micros, nullable=False),
    UniqueConstraint(*KEY, name="uq_budget_alerts_key"),
    sixteen("id"),
)
Index("ix_budget_alerts_created_at", ALERTS.c.created_at, ALERTS.c.id)

DELIVERIES: Final = Table(
    "alert_deliveries",
    METADATA,
    Column("alert_id", HexId(), ForeignKey("budget_alerts.id"), primary_key=True, nullable=False),
    Column("destination_id", HexId(), ForeignKey("alert_destinations.id"), primary_key=True, nullable=False),
    Column("state", SmallInteger, nullable=False),  # `State`
    Column("tries", Integer, nullable=False),
    Column("due_at", Micros, nullable=False),  # of a waiting one: not before
    Column("problem", Text, nullable=False),  # of the last try
    Column("updated_at", Micros, nullable=False),
    sixteen("alert_id"),
    sixteen("destination_id"),
    CheckConstraint("state IN (1, 2, 3)", name="state"),
)
Index("ix_alert_deliveries_due", DELIVERIES.c.due_at, sqlite_where=DUE, postgresql_where=DUE)
