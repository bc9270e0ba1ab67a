"""Settings: their schema (schema, tenancy, control, idempotency, over kinds), the file they come from (file, over
yaml_tree and walk), the rules that hold between them (rules, tenancy_rules), and how mistakes are told (problem). Users
import from here."""

from fastpath.settings.control import Control
from fastpath.settings.idempotency import Idempotency
from fastpath.settings.kinds import Door, Picker, Tier
from fastpath.settings.schema import (
    Dns,
    Endpoint,
    Key,
    Limits,
    Listen,
    Log,
    Model,
    Retries,
    Settings,
    Timeouts,
    Tls,
    decode_settings,
    encode_settings,
    settings_schema,
    show_settings,
    state_folder,
)
from fastpath.settings.tenancy import Budget, Limit, ModelClamp, ModelLimits, ModelPrice, Team, Tenant, Threshold, User

__all__ = [
    "Budget",
    "Control",
    "Dns",
    "Door",
    "Endpoint",
    "Idempotency",
    "Key",
    "Limit",
    "Limits",
    "Listen",
    "Log",
    "Model",
    "ModelClamp",
    "ModelLimits",
    "ModelPrice",
    "Picker",
    "Retries",
    "Settings",
    "Team",
    "Tenant",
    "Threshold",
    "Tier",
    "Timeouts",
    "Tls",
    "User",
    "decode_settings",
    "encode_settings",
    "settings_schema",
    "show_settings",
    "state_folder",
]
