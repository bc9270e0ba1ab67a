"""What several nodes share through Redis: a part of the settings tree of `schema`, whose head holds here.

Owns the shape. Does not own what is shared (`fastpath.shares`, `fastpath.publication.redis`).
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from fastpath.settings.kinds import FilePath, Label, SecretText
from fastpath.settings.secret import Secret

LOCAL: Final = "redis://127.0.0.1:6379/0"


def check_redis(text: str) -> str | None:
    """The address of a Redis. Whether it answers is seen while running: a node serves without it."""
    kind, _, rest = text.partition("://")
    if kind in ("redis", "rediss", "unix") and rest.strip("/"):
        return None
    return "must be redis://HOST:PORT/NUMBER, rediss://HOST:PORT/NUMBER (TLS) or unix:///PATH"


RedisUrl = Annotated[Secret, Meta(extra={"check": check_redis})]


class Shared(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits, budgets and keys in common with other nodes, through Redis. One process per node speaks to it."""

    redis: Annotated[
        RedisUrl | None,
        Meta(
            description="`redis://HOST:PORT/NUMBER`, `rediss://` with TLS, or `unix:///PATH`. A password in it is best "
            "as `${NAME}`. No worker ever sees it. Redis may hold anything back but is never believed: what it says is "
            "checked, and without it the node goes on with its part. None: `redis://127.0.0.1:6379/0`."
        ),
    ] = None
    password: Annotated[
        SecretText | None,
        Meta(description="Password of Redis, as `${NAME}` from the environment. None: none, or the one in `redis`."),
    ] = None
    ca_file: Annotated[
        FilePath | None,
        Meta(
            description="PEM file with the authorities that may sign the certificate of a `rediss://` server. None: "
            "the system's. It is always verified."
        ),
    ] = None
    node: Annotated[
        Label | None,
        Meta(
            description="Name of this node among the others, which must have other names: under one name two nodes "
            "would take each other's parts. None: the host's name and an id of the state folder."
        ),
    ] = None
    nodes: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            extra={"unit": "nodes"},
            description="How many nodes there are at least. A node that starts while Redis is away takes one in so "
            "many of each limit (or of as many as it last saw, if those were more). Budgets that are hard need no "
            "such guess: without Redis a node spends only what it was given before.",
        ),
    ] = 1
    prefix: Annotated[
        Label,
        Meta(
            description="First part of every key in Redis. All nodes of one installation have the same; others that "
            "use the same Redis have another."
        ),
    ] = "fastpath"
    follow: Annotated[
        bool,
        Meta(
            description="Take the tenants and keys that a control process on another node published, by way of Redis. "
            "Needs that node's `pepper` and `trusted-keys` in the state folder. A node with `control:` publishes there "
            "by itself and follows nobody."
        ),
    ] = False

    @property
    def url(self) -> str:
        """Where Redis is. May hold a password."""
        return self.redis.reveal() if self.redis is not None else LOCAL
