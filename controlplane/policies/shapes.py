"""What the admin API takes and shows of policies. Conditions are those of the settings file. Times are Unix seconds."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from controlplane.identity.shapes import Name
from controlplane.ids import ObjectId
from fastpath.settings import Conditions, DataClass, Policy, Tier, TimeWindow
from fastpath.settings.policies import Effect

FIELDS = Conditions.__struct_fields__

OfTenant = Annotated[
    ObjectId | None,
    Meta(
        description="Tenant whose own rule it is: it holds for that tenant alone and can only deny. null: of the whole "
        "gateway, which takes an admin; a tenant-admin's are always of the own tenant."
    ),
]
Disabled = Annotated[bool, Meta(description="Without effect until it is switched on again.")]
Names = tuple[str, ...] | UnsetType | None


class PolicyDraft(Conditions, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A new policy."""

    name: Name
    effect: Effect
    unless: Conditions | None = None
    tenant_id: OfTenant = None


class PolicyEdits(Struct, forbid_unknown_fields=True, kw_only=True):
    """Changes to a policy. What is not sent stays as it is; null takes a condition away."""

    name: Name | UnsetType = UNSET
    disabled: Disabled | UnsetType = UNSET
    effect: Effect | UnsetType = UNSET
    subjects: Names = UNSET
    tenants: Names = UNSET
    models: Names = UNSET
    tiers: tuple[Tier, ...] | UnsetType | None = UNSET
    classes: tuple[DataClass, ...] | UnsetType | None = UNSET
    paths: Names = UNSET
    networks: Names = UNSET
    times: tuple[TimeWindow, ...] | UnsetType | None = UNSET
    unless: Conditions | UnsetType | None = UNSET


class PolicyView(Conditions, kw_only=True, frozen=True):
    """A policy."""

    object: Literal["policy"] = "policy"
    id: ObjectId
    tenant_id: ObjectId | None
    name: str
    effect: Effect
    unless: Conditions | None
    disabled: bool
    made_by: Annotated[str, Meta(description="Role of whoever made it. Roles below it cannot change it.")]
    created_at: int
    updated_at: int


def plain_conditions(rule: PolicyDraft | Policy) -> dict[str, Any]:
    """Conditions and exceptions as they are stored: what is None is left out."""
    found: dict[str, Any] = msgspec.to_builtins(rule)
    return {name: _without_none(found[name]) for name in (*FIELDS, "unless") if found[name] is not None}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list | tuple) else value
