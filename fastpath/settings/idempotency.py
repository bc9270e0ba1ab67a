"""Settings of requests that callers may repeat: what the `Idempotency-Key` header means, and what is kept for it.

Owns their shape. Part of the settings tree (`schema`).
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from fastpath.settings.kinds import Bytes, Seconds

MIB: Final = 1 << 20


class Idempotency(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Requests with an `Idempotency-Key`, which run once however often they are repeated. Only with callers' keys."""

    enabled: Annotated[
        bool,
        Meta(
            description="Whether the header means anything. On, because it costs nothing where nobody sends it. Off: "
            "it is not looked at, and a repeat runs again."
        ),
    ] = True
    ttl: Annotated[
        Seconds,
        Meta(description="How long a key is remembered. A day, as with the APIs that made the header known."),
    ] = 86400.0
    answer: Annotated[
        Bytes,
        Meta(
            description="Largest answer that is kept, of which a repeat gets a copy; it waits in memory until it is "
            "written. A repeat of a larger one is told that its answer is gone. 1 MiB is more than a quarter of a "
            "million tokens in one piece, or several thousand as a stream."
        ),
    ] = 1 * MIB
    disk: Annotated[
        Annotated[int, Meta(ge=32 * MIB, le=2**40, extra={"unit": "bytes"})],
        Meta(
            description="Room for all answers in the state folder, encrypted; each worker may go beyond it by the "
            "8 MiB it is writing. Beyond it the oldest answers go before their time; their keys are remembered all the "
            "same."
        ),
    ] = 1024 * MIB
    keys: Annotated[
        int,
        Meta(
            ge=64,
            le=1 << 24,
            extra={"unit": "keys"},
            description="Keys that are remembered at once, by all workers of the node together, each in 128 bytes of a "
            "file in the state folder that the first such request makes. When there is no more room new keys are not "
            "remembered, and their answers say so (`x-fastpath-idempotency: none`). Changes with a restart.",
        ),
    ] = 262_144
