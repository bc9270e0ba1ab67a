"""What the admin API takes and shows of admin keys. Times are Unix seconds."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from controlplane.access.roles import Role
from controlplane.identity.shapes import Disabled, Moment, Name
from controlplane.ids import ObjectId


class AdminKeyDraft(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A new admin key."""

    name: Name
    role: Annotated[Role, Meta(description="tenant-admin needs `tenant_id`; developer needs `user_id`.")]
    tenant_id: ObjectId | None = None
    user_id: ObjectId | None = None
    expires_at: Moment | None = None


class AdminKeyEdits(Struct, forbid_unknown_fields=True, kw_only=True):
    """Changes to an admin key. What is not sent stays as it is."""

    name: Name | UnsetType = UNSET
    disabled: Disabled | UnsetType = UNSET
    expires_at: Moment | UnsetType | None = UNSET


class AdminKeyView(Struct, kw_only=True, frozen=True):
    """An admin key."""

    object: Literal["admin_key"] = "admin_key"
    id: ObjectId
    name: str
    role: Role
    tenant_id: ObjectId | None
    user_id: ObjectId | None
    public_id: str
    disabled: bool
    expires_at: int | None
    created_at: int
    updated_at: int


class IssuedAdminKey(Struct, frozen=True):
    """An admin key with its secret, which is shown this once."""

    token: Annotated[str, Meta(description="The key itself. It is not stored: keep it now.")]
    admin_key: AdminKeyView


class Myself(Struct, kw_only=True, frozen=True):
    """Whose admin key was sent."""

    object: Literal["principal"] = "principal"
    id: ObjectId
    name: str
    role: Role
    tenant_id: ObjectId | None
    team_id: ObjectId | None
    user_id: ObjectId | None
    expires_at: int | None
