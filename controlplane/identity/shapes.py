"""What the admin API takes and shows of tenants, teams, users and keys.

Owns the Structs of bodies and answers; their descriptions are the reference. A draft makes an object, edits change only
the fields that were sent, a view shows it. Times are Unix seconds. No view has a field for a secret but `IssuedKey`.
"""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, convert

from controlplane.identity.scope import FIELDS, Scope, ScopeEdits
from controlplane.ids import ObjectId
from fastpath.settings.syntax import check_label

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:/\[\]-]{0,127}$",
        description="Name in logs, metrics and reports; unique in its scope.",
    ),
]
Moment = Annotated[int, Meta(ge=0, le=253_402_300_799, description="Unix seconds.")]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217. For good: the ledger is kept in it.")]
TimeZone = Annotated[str, Meta(min_length=1, max_length=64, description="IANA name, such as Europe/Berlin.")]
DefaultClass = Annotated[
    Literal["P0", "P1", "P2"],
    Meta(
        description="Least class of the tenant's requests, and of those that say none: P0 is the most sensitive. null: "
        "the gateway's `data_class`."
    ),
]
Tiers = Annotated[
    tuple[Literal["L0", "L1", "L2"], ...],
    Meta(min_length=1, max_length=3, description="Tiers its requests may go to. null: wherever their class may go."),
]
Regions = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:/\[\]-]{0,127}$")], ...],
    Meta(min_length=1, max_length=100, description="Regions its requests may go to, by endpoints. null: all."),
]
Markup = Annotated[
    int,
    Meta(
        ge=-1_000_000,
        le=1_000_000_000,
        description="Millionths that are added to prices for this tenant: 200000 is a fifth, -100000 a tenth off. "
        "null: what the model says. Tenants themselves are not shown it.",
    ),
]
Disabled = Annotated[bool, Meta(description="Switched off, with all that is below it, until it is switched on again.")]


class Draft(Scope, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What every new object says of itself."""

    name: Name

    @property
    def scope(self) -> Scope:
        """Its part that limits."""
        return Scope(**{field: getattr(self, field) for field in FIELDS})


class TenantDraft(Draft, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A new tenant."""

    currency: Currency = "USD"
    time_zone: TimeZone = "UTC"
    default_class: DefaultClass | None = None
    residency_tiers: Tiers | None = None
    residency_regions: Regions | None = None
    markup_ppm: Markup | None = None


class TeamDraft(Draft, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A new team of a tenant."""

    tenant_id: ObjectId


class UserDraft(Draft, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A new user of a team."""

    team_id: ObjectId


class KeyDraft(Draft, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A new key of a user."""

    user_id: ObjectId
    expires_at: Moment | None = None


class Edits(ScopeEdits, forbid_unknown_fields=True, kw_only=True):
    """Changes to an object. What is not sent stays as it is."""

    name: Name | UnsetType = UNSET
    disabled: Disabled | UnsetType = UNSET


class TenantEdits(Edits, forbid_unknown_fields=True, kw_only=True):
    """Changes to a tenant."""

    time_zone: TimeZone | UnsetType = UNSET
    default_class: DefaultClass | UnsetType | None = UNSET
    residency_tiers: Tiers | UnsetType | None = UNSET
    residency_regions: Regions | UnsetType | None = UNSET
    markup_ppm: Markup | UnsetType | None = UNSET


class TeamEdits(Edits, forbid_unknown_fields=True, kw_only=True):
    """Changes to a team."""


class UserEdits(Edits, forbid_unknown_fields=True, kw_only=True):
    """Changes to a user."""


class KeyEdits(Edits, forbid_unknown_fields=True, kw_only=True):
    """Changes to a key."""

    expires_at: Moment | UnsetType | None = UNSET


class Rotation(Struct, forbid_unknown_fields=True, frozen=True):
    """How to rotate a key."""

    overlap: Annotated[
        int, Meta(ge=0, le=2_592_000, description="Seconds for which the old secret stays good; at most 30 days.")
    ] = 86_400


class View(Scope, kw_only=True, frozen=True):
    """What every object shows."""

    id: ObjectId
    name: str
    disabled: bool
    owner: Annotated[str, Meta(description='"api", or "file": then only the settings file changes it.')]
    source: Annotated[str | None, Meta(description="That file.")] = None
    created_at: int
    updated_at: int


class TenantView(View, kw_only=True, frozen=True):
    """A tenant."""

    object: Literal["tenant"] = "tenant"
    currency: str
    time_zone: str
    default_class: DefaultClass | None = None
    residency_tiers: Tiers | None = None
    residency_regions: Regions | None = None
    markup_ppm: Markup | UnsetType | None = UNSET  # left out for who belongs to a tenant, as prices are


class TeamView(View, kw_only=True, frozen=True):
    """A team."""

    object: Literal["team"] = "team"
    tenant_id: ObjectId


class UserView(View, kw_only=True, frozen=True):
    """A user."""

    object: Literal["user"] = "user"
    tenant_id: ObjectId
    team_id: ObjectId


class SecretView(Struct, frozen=True):
    """One secret of a key, without the secret."""

    public_id: Annotated[str, Meta(description="The second part of the key, `fp-<public id>-...`.")]
    created_at: int
    valid_until: Annotated[int | None, Meta(description="null: the one in use.")] = None


class KeyView(View, kw_only=True, frozen=True):
    """A key."""

    object: Literal["key"] = "key"
    tenant_id: ObjectId
    team_id: ObjectId
    user_id: ObjectId
    expires_at: int | None
    secrets: tuple[SecretView, ...]


class IssuedKey(Struct, frozen=True):
    """A key with its secret, which is shown this once."""

    token: Annotated[str, Meta(description="The key itself. It is not stored: keep it now.")]
    key: KeyView


def check_name(name: str) -> str | None:
    """What is wrong with a name; None when it is good. Stricter than its pattern, whose `$` lets a line end pass."""
    return check_label(name)


def sent(edits: Struct) -> dict[str, Any]:
    """The fields of edits that were sent."""
    values = {field: getattr(edits, field) for field in edits.__struct_fields__}
    return {field: value for field, value in values.items() if value is not UNSET}


#: What a tenant says of its data, beside its scope.
PLACEMENT: Final = ("default_class", "residency_tiers", "residency_regions")


class Placement(Struct, frozen=True):
    """The same, as a row has it."""

    default_class: DefaultClass | None = None
    residency_tiers: Tiers | None = None
    residency_regions: Regions | None = None


def placement_of(row: Any) -> Placement:
    """What stands in a tenant's row. Raises msgspec.ValidationError when it is damaged."""
    return convert({field: getattr(row, field) for field in PLACEMENT}, Placement)
