"""Whether this node runs a control process, and where: a part of the settings tree of `schema`, whose head holds here.

Owns also where in the state folder the two planes meet. Does not own what that process is told besides
(`controlplane.settings`): the supervisor adds the state folder.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from fastpath.settings.issuers import AdminIssuer
from fastpath.settings.kinds import Host, Port
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


DatabaseUrl = Annotated[Secret, Meta(extra={"check": check_database})]


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
