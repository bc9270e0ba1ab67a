"""Settings of the records of decisions: of which requests they are kept, for how long, in how much room.

Owns their shape. Part of the settings tree (`schema`).
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from fastpath.settings.kinds import DataClass

MIB: Final = 1 << 20


class Decisions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `fastpath explain` and `GET /decisions/{id}` show of a request: why it ran where it ran. No content."""

    share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            extra={"unit": "share of requests"},
            description="Share of ordinary requests that leave a record. Others always do where records are kept: "
            "those of keys with `insight`, of the classes under `required`, and those that failed, were refused or "
            "were retried. 0, because a record costs about 20 us of CPU "
            "(docs/adr/0018-decision-records.md); 1 for an audit of every request.",
        ),
    ] = 0.0
    keep_days: Annotated[
        int,
        Meta(
            ge=1,
            le=400,
            extra={"unit": "days"},
            description="How long a record is kept. A week: questions about an answer come soon. Bills keep their own.",
        ),
    ] = 7
    most_bytes: Annotated[
        Annotated[int, Meta(ge=64 * MIB, le=2**40, extra={"unit": "bytes"})],
        Meta(
            description="Room for all records of this node in the state folder. Beyond it the oldest go before their "
            "time. 1 GiB holds about three million."
        ),
    ] = 1024 * MIB
    required: Annotated[
        tuple[DataClass, ...],
        Meta(
            description="Classes of data whose every request leaves a record, or is answered 503 while its record "
            "could not be kept. Holds where records are kept: with a control process, a key with `insight` or a "
            "`share`. Empty: a lost record is counted and nothing else."
        ),
    ] = ("P0", "P1")
