"""Whether this node runs a control process, and where: a part of the settings tree of `schema`, whose head holds here.

Owns also where in the state folder the two planes meet. Does not own what that process is told besides
(`controlplane.settings`): the supervisor adds the state folder.
"""

import base64
import binascii
from typing import Annotated, Final

from msgspec import Meta, Struct

from fastpath.settings.issuers import AdminIssuer
from fastpath.settings.kinds import Host, Label, Port, Url
from fastpath.settings.secret import Secret

PUBLISHED: Final = "published"
"""In the state folder: the folder of publications, which the control process writes and nodes follow."""
TRUSTED: Final = "trusted-keys"
"""In the state folder: whose publications this node takes. Made by the first control process of the folder."""


def check_database(text: str) -> str | None:
    """The address of a database. Whether it answers is seen when the control process opens it."""
    kind, _, rest = text.partition("://")
    if kind in ("sqlite", "postgresql", "postgres") and rest.strip("/"):
        return None
    return "must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"


def check_signing_secret(text: str) -> str | None:
    """What signs webhooks, in the form of the Standard Webhooks specification."""
    try:
        size = len(base64.b64decode(text.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if text.startswith("whsec_") and 24 <= size <= 64:
        return None
    return 'must be whsec_ and 24 to 64 random bytes in base64: echo "whsec_$(openssl rand -base64 32)"'


DatabaseUrl = Annotated[Secret, Meta(extra={"check": check_database})]
SigningSecret = Annotated[Secret, Meta(extra={"check": check_signing_secret})]


class Webhook(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is told of budget alerts. Destinations that the admin API made stand beside these."""

    name: Annotated[Label, Meta(description="Name in the admin API and in logs. Unique for its tenant.")]
    url: Annotated[
        Url,
        Meta(
            description="Where alerts are posted to: https, or http to a loopback address of a host in `allow_hosts`. "
            "Redirects are not followed."
        ),
    ]
    secret: Annotated[
        SigningSecret,
        Meta(description="`whsec_...`, which the receiver checks signatures with; best as `${NAME}`."),
    ]
    tenant: Annotated[
        Label | None,
        Meta(description="Only alerts of this tenant, by its name in this file. None: of all tenants."),
    ] = None


class Control(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A control process beside the workers: tenants, users and keys in a database, changed by the admin API."""

    host: Annotated[
        Host,
        Meta(
            description="Address of the admin API, loopback only: admin keys would cross a network readable. For "
            "other machines put a proxy that does TLS in front."
        ),
    ] = "127.0.0.1"
    port: Annotated[
        Port, Meta(description="Port of the admin API, beside `listen.admin_port`. 0 lets the kernel choose.")
    ] = 8342
    database: Annotated[
        DatabaseUrl | None,
        Meta(
            description="`sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`; best as `${NAME}`, since it may "
            "hold a password. No worker ever sees it. None: `control.db` in the state folder.",
        ),
    ] = None
    issuers: Annotated[
        tuple[AdminIssuer, ...],
        Meta(
            description="Identity providers whose tokens administrators may send in place of an admin key. Apart "
            "from those of callers: a token opens what it was made for."
        ),
    ] = ()
    webhooks: Annotated[
        tuple[Webhook, ...],
        Meta(max_length=16, description="Who is told when budgets cross thresholds. Empty: those of the admin API."),
    ] = ()
    allow_hosts: Annotated[
        tuple[Host, ...],
        Meta(
            max_length=64,
            description="Hosts of webhooks that may have private or loopback addresses, for receivers inside one's own "
            "network. All others must be public, whatever their name resolves to, and so must those of "
            "tenant-admins.",
        ),
    ] = ()
