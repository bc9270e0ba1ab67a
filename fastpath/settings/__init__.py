"""Settings: their schema (schema, model, endpoint, listen, health, watch, decisions, tenancy, issuers, policies,
control, idempotency, shared; over kinds), the file they come from (file, over yaml_tree and walk), the rules that hold
between them (rules and the modules *_rules), and how mistakes are told (problem). Users import from here."""

from fastpath.settings.control import Control
from fastpath.settings.endpoint import Endpoint
from fastpath.settings.health import Health
from fastpath.settings.idempotency import Idempotency
from fastpath.settings.issuers import AdminIssuer, ClaimNames, Grant, Issuer, TrustedIssuer
from fastpath.settings.kinds import Capability, DataClass, Door, Picker, Tier
from fastpath.settings.listen import Listen, Tls
from fastpath.settings.model import Model, Timeouts
from fastpath.settings.policies import Conditions, Policy, TimeWindow
from fastpath.settings.residency import Residency
from fastpath.settings.routing import (
    ExtraScorer,
    Routing,
    Safety,
    ScenarioName,
    StrategyName,
    TierScores,
    Weights,
)
from fastpath.settings.schema import (
    Dns,
    Key,
    Limits,
    Log,
    Retries,
    Settings,
    decode_settings,
    encode_settings,
    settings_schema,
    show_settings,
    state_folder,
)
from fastpath.settings.shared import Shared
from fastpath.settings.tenancy import Budget, Limit, ModelClamp, ModelLimits, ModelPrice, Team, Tenant, Threshold, User
from fastpath.settings.watch import Load, Probe, Watch

__all__ = [
    "AdminIssuer",
    "Budget",
    "Capability",
    "ClaimNames",
    "Conditions",
    "Control",
    "DataClass",
    "Dns",
    "Door",
    "Endpoint",
    "ExtraScorer",
    "Grant",
    "Health",
    "Idempotency",
    "Issuer",
    "Key",
    "Limit",
    "Limits",
    "Listen",
    "Load",
    "Log",
    "Model",
    "ModelClamp",
    "ModelLimits",
    "ModelPrice",
    "Picker",
    "Policy",
    "Probe",
    "Residency",
    "Retries",
    "Routing",
    "Safety",
    "ScenarioName",
    "Settings",
    "Shared",
    "StrategyName",
    "Team",
    "Tenant",
    "Threshold",
    "Tier",
    "TierScores",
    "TimeWindow",
    "Timeouts",
    "Tls",
    "TrustedIssuer",
    "User",
    "Watch",
    "Weights",
    "decode_settings",
    "encode_settings",
    "settings_schema",
    "show_settings",
    "state_folder",
]
