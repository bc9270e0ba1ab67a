"""What the admin API takes and shows of provider keys. No view holds a secret. Times are Unix seconds."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from controlplane.identity.shapes import Name
from controlplane.ids import ObjectId

Value = Annotated[
    str,
    Meta(min_length=1, max_length=8192, description="The key itself: visible ASCII. It is stored sealed, never shown."),
]


class ProviderKeyDraft(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A new provider key."""

    name: Name
    value: Value


class ProviderKeyEdits(Struct, forbid_unknown_fields=True, kw_only=True):
    """Changes to a provider key. What is not sent stays as it is."""

    name: Name | UnsetType = UNSET
    value: Value | UnsetType = UNSET


class ProviderKeyView(Struct, kw_only=True, frozen=True):
    """A provider key."""

    object: Literal["provider_key"] = "provider_key"
    id: ObjectId
    name: str
    master_key: Annotated[str, Meta(description="Which master key it is sealed under: 8 hex digits.")]
    created_at: int
    updated_at: int


class Resealed(Struct, frozen=True):
    """What a rotation of the master key did."""

    master_key: Annotated[str, Meta(description="The master key in use: 8 hex digits.")]
    resealed: Annotated[int, Meta(description="Provider keys that were sealed anew.")]
    left: Annotated[int, Meta(description="Provider keys that are still under another one, which must be kept.")]
