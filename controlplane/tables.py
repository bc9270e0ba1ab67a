"""Every table of every room, for whoever needs `METADATA` complete: migrations' tests, backup and restore."""

from controlplane.access.tables import ADMIN_KEYS
from controlplane.alerts.tables import ALERTS, DELIVERIES, DESTINATIONS
from controlplane.audit.tables import AUDIT_ENTRIES, AUDIT_HEAD
from controlplane.identity.tables import KEY_SECRETS, KEYS, TEAMS, TENANTS, USERS
from controlplane.ledger import tables as ledger
from controlplane.policies.tables import POLICIES
from controlplane.registry.tables import ENDPOINTS, MODELS
from controlplane.secrets.tables import PROVIDER_KEYS
from controlplane.store.metadata import METADATA

__all__ = [
    "ADMIN_KEYS",
    "ALERTS",
    "AUDIT_ENTRIES",
    "AUDIT_HEAD",
    "DELIVERIES",
    "DESTINATIONS",
    "ENDPOINTS",
    "KEYS",
    "KEY_SECRETS",
    "METADATA",
    "MODELS",
    "POLICIES",
    "PROVIDER_KEYS",
    "TEAMS",
    "TENANTS",
    "USERS",
    "ledger",
]
