"""Health: when an endpoint is left alone, and how it comes back. Owns the Struct."""

from typing import Annotated

from msgspec import Meta, Struct

from fastpath.settings.kinds import Delay, Seconds


class Health(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What endpoints that fail or are slow lose, and for how long. A model's only endpoint loses nothing."""

    failures: Annotated[
        int,
        Meta(
            ge=1,
            le=10,
            extra={"unit": "of the last ten attempts"},
            description="Failed attempts after which an endpoint is out. Refused connections, silence, broken or "
            "senseless answers and statuses of 500 and above count, a caller's own mistakes do not, and neither do "
            "errors that one caller alone gets while others are served.",
        ),
    ] = 5
    out: Annotated[
        Seconds,
        Meta(description="How long it is out the first time. Twice as long each time that it comes back unwell."),
    ] = 1.0
    out_max: Annotated[Seconds, Meta(description="The longest that it is out before it is tried again.")] = 30.0
    probes: Annotated[
        int,
        Meta(
            ge=1,
            le=16,
            extra={"unit": "requests"},
            description="Requests that are sent to try it, at once and per node; so many must go well before it is in "
            "again. One that fails is sent elsewhere, as any other.",
        ),
    ] = 2
    rest_max: Annotated[
        Seconds,
        Meta(
            description="The longest that an endpoint is left alone because it said so (429 or 503 with "
            "`retry-after`). Longer wishes are cut to this."
        ),
    ] = 60.0
    slow_factor: Annotated[
        float,
        Meta(
            ge=1.5,
            le=1000,
            extra={"unit": "times"},
            description="An answer that takes so many times as long to begin as those of the endpoint's peers (same "
            "model, same tier) is slow. Of one whose answers are mostly slow a tenth of the traffic is left.",
        ),
    ] = 3.0
    slow_start: Annotated[
        Delay,
        Meta(
            description="How long an endpoint that came back takes to its whole share of the traffic. A model server "
            "that has just started has cold caches. 0: at once."
        ),
    ] = 10.0
    panic: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            extra={"unit": "share of a model's endpoints"},
            description="When a larger share than this would be out, or all, nobody is: if most of them fail the cause "
            "is rarely in each of them, and the rest would fall under the load. 1: only when all are.",
        ),
    ] = 1.0
