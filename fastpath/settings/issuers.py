"""Whose tokens are believed, and for what: identity providers of callers and of administrators.

A part of the settings tree of `schema`, whose head holds here too. What must be right about an issuer by itself is in
`fastpath.identity.token.trust`, which of these settings go together with others in `issuer_rules`.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from fastpath.settings.kinds import ApiPath, DataClass, FilePath, Host, Label, ModelName, Network
from fastpath.settings.syntax import check_label

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
AdminRole = Literal["admin", "operator", "auditor", "tenant-admin", "developer"]
Members = Literal["any", "listed"]

#: Roles that are held within one tenant.
ROLES_IN_TENANT: Final = ("tenant-admin", "developer")
#: No more disagreement between clocks is forgiven, s (RFC 7519: "usually no more than a few minutes").
MOST_LEEWAY: Final = 60.0


def check_issuer_name(text: str) -> str | None:
    """A label without a colon: `corp:eu` with user `alice` would be `corp` with user `eu:alice`."""
    return "must not hold a colon: it stands between this name and the user's" if ":" in text else check_label(text)


def check_tenant(text: str) -> str | None:
    """A tenant's name, or `*`."""
    return None if text == "*" else check_label(text)


IssuerName = Annotated[str, Meta(min_length=1, extra={"check": check_issuer_name})]
Text = Annotated[str, Meta(min_length=1)]
TenantName = Annotated[str, Meta(extra={"check": check_label})]
TenantOrAny = Annotated[str, Meta(min_length=1, extra={"check": check_tenant})]


class ClaimNames(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The claims that say who. A top-level one's name, or a JSON Pointer (RFC 6901), which begins with `/`."""

    tenant: Annotated[
        str, Meta(description='Which tenant. It may name those of `tenants` and no other. "": no claim says.')
    ] = ""
    team: Annotated[str, Meta(description='Which team of the tenant. "": no claim says.')] = ""
    user: Annotated[
        str,
        Meta(
            description="Which user: a claim that its user cannot change, and that is never given to another one. "
            "Tokens without it are refused."
        ),
    ] = "sub"
    scopes: Annotated[
        str,
        Meta(
            description="What the token is for: a text with spaces between (RFC 8693), or a list of texts, such as "
            '`scope`, `scp`, `/realm_access/roles`. "": no claim says.'
        ),
    ] = "scope"


class TrustedIssuer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One issuer of tokens, whoever comes with them."""

    name: Annotated[
        IssuerName,
        Meta(description="Your name for it in logs and records, where its user alice is `<name>:alice`. No colon."),
    ]
    issuer: Annotated[
        Text,
        Meta(
            description="The provider's own name, exactly as tokens have it in `iss`, to the last slash. Its keys are "
            "found through `<issuer>/.well-known/openid-configuration`, which must name the same issuer."
        ),
    ]
    audience: Annotated[
        tuple[Text, ...],
        Meta(
            min_length=1,
            description="Whom tokens are made for; one of these must be in `aud`. Without it a token that was made "
            "for another service would open this one.",
        ),
    ]
    jwks_uri: Annotated[
        str, Meta(description='Where its keys are, when there is no discovery document. "": as that document says.')
    ] = ""
    algorithms: Annotated[
        tuple[Algorithm, ...],
        Meta(
            min_length=1,
            description="Algorithms that its tokens may be signed with; all others are refused. `none` and shared "
            "secrets (HS256 and its like) cannot be allowed.",
        ),
    ] = ("RS256", "ES256", "EdDSA")
    claims: Annotated[ClaimNames, Meta(description="Where its tokens say tenant, team, user and scopes.")] = (
        ClaimNames()
    )
    tenant: Annotated[
        TenantName, Meta(description='Whose callers these are, when no claim says so. "": nobody\'s.')
    ] = ""
    tenants: Annotated[
        tuple[TenantOrAny, ...],
        Meta(
            description='The tenants that `claims.tenant` may name, or `["*"]`. Required with that claim: an issuer '
            "that belongs to one tenant must not let its users in as another's."
        ),
    ] = ()
    leeway: Annotated[
        float,
        Meta(
            ge=0,
            le=MOST_LEEWAY,
            extra={"unit": "seconds"},
            description="How far clocks may disagree with the provider's.",
        ),
    ] = MOST_LEEWAY
    allow_hosts: Annotated[
        tuple[Host, ...],
        Meta(
            description="Hosts that may have private or loopback addresses, for a provider inside your own network. "
            "Only loopback may be asked over plain `http://`."
        ),
    ] = ()
    ca_file: Annotated[
        FilePath | None,
        Meta(description="PEM file with the authorities that may sign the provider's certificate. None: the system's."),
    ] = None
    deny_users: Annotated[
        tuple[Text, ...],
        Meta(description="Users whose tokens are refused at once, remembered or not, as `claims.user` has them."),
    ] = ()
    deny_tokens: Annotated[
        tuple[Text, ...], Meta(description="Single tokens that are refused at once, by their `jti`.")
    ] = ()


class Issuer(TrustedIssuer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An identity provider whose tokens callers may send where a key would stand."""

    models: Annotated[
        tuple[ModelName, ...],
        Meta(
            description="Models for tokens that have no scope `models:NAME`; one that has some may use those and no "
            "others. Empty: none, so that each model must be granted by a scope."
        ),
    ] = ("*",)
    paths: Annotated[
        Annotated[tuple[ApiPath, ...], Meta(min_length=1)] | None,
        Meta(
            description="API paths its tokens may be used for; `/v1/models` is one, and stands for its parts too. "
            "None: all."
        ),
    ] = None
    networks: Annotated[
        Annotated[tuple[Network, ...], Meta(min_length=1)] | None,
        Meta(
            description="Addresses or networks its tokens may be used from. The caller's address is that of its "
            "connection, or the one that `listen.trusted_proxies` tell. None: anywhere."
        ),
    ] = None
    data_class: Annotated[
        DataClass | None,
        Meta(
            description="Most sensitive class of data that may be sent with its tokens: P0 is the most sensitive, P2 "
            "is public. A request says its class in `x-fastpath-data-class`; one that does not counts as this class. "
            "None: any may be sent."
        ),
    ] = None
    members: Annotated[
        Members,
        Meta(
            description="Who of a tenant may call: `any` user the issuer vouches for, or those that the tenant has "
            "`listed` under its `users`, as `<name>:<user>`."
        ),
    ] = "any"


class Grant(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a scope of a token makes of its holder in the admin API."""

    scope: Annotated[Text, Meta(description="One of the token's scopes, letter by letter.")]
    role: Annotated[
        AdminRole,
        Meta(
            description="The role. `tenant-admin` and `developer` are held in one tenant; a developer is its user "
            "called `<name>:<user>`."
        ),
    ]
    tenant: Annotated[
        Label | None,
        Meta(description="Tenant of a role that is held in one. None: the token's, by `claims.tenant` or `tenant`."),
    ] = None


class AdminIssuer(TrustedIssuer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An identity provider whose tokens administrators may send where an admin key would stand."""

    grants: Annotated[
        tuple[Grant, ...],
        Meta(
            min_length=1,
            description="Roles by the token's scopes: the first entry whose scope the token has. A token with none of "
            "them is refused, so a caller's token is none of an administrator.",
        ),
    ]
