"""Rules about who may send what where: subjects, tenants, models, tiers, data classes, API paths, networks, times.

A part of the settings tree of `schema`, whose head holds here too. What rules mean together is in `fastpath.policy`;
which of them go together is in `policy_rules`. Lists of a rule are alternatives, its conditions hold all at once.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from fastpath.settings.kinds import (
    ClockTime,
    DataClass,
    Date,
    Label,
    LabelPattern,
    ModelPattern,
    Network,
    PathPattern,
    SubjectPattern,
    Tier,
    TimeZone,
)

Effect = Literal["allow", "deny"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
SOME = Meta(min_length=1)
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class TimeWindow(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the week, of the day or of the calendar, as clocks on walls show it. What is left out is not bound."""

    days: Annotated[
        Annotated[tuple[Day, ...], SOME] | None,
        Meta(description="Weekdays. A window that goes past midnight belongs to the day it begins on."),
    ] = None
    start: Annotated[
        ClockTime | None, Meta(description="First minute of the window, such as `09:00`. None: midnight.")
    ] = None
    end: Annotated[
        ClockTime | None,
        Meta(
            description="End of the window: the first minute that is not in it. Before `start`: on the next day. None: "
            "the midnight after. When clocks are put back, an hour that comes twice is in or out both times; an hour "
            "that is left out in spring does not come."
        ),
    ] = None
    first_day: Annotated[Date | None, Meta(description="First date, such as `2026-12-24`. None: since always.")] = None
    last_day: Annotated[Date | None, Meta(description="Last date, itself included. None: for ever.")] = None
    time_zone: Annotated[
        TimeZone, Meta(description="IANA name of the zone whose clocks count, such as `Europe/Berlin`.")
    ] = "UTC"


class Conditions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a request must be. Each list holds alternatives, all lists that are given must hold. None: whatever it is.

    Where a request has no such thing (no key, no tenant, no address), a list holds for it never. `*` at the beginning
    or at the end of a name stands for anything.
    """

    subjects: Annotated[
        Annotated[tuple[SubjectPattern, ...], SOME] | None,
        Meta(
            description="Who asks: `key:NAME`, `user:NAME` or `team:NAME`. Names of users and teams are unique in "
            "their tenant only, so give `tenants`, too.",
        ),
    ] = None
    tenants: Annotated[
        Annotated[tuple[LabelPattern, ...], SOME] | None, Meta(description="Tenants of the key, by name.")
    ] = None
    models: Annotated[
        Annotated[tuple[ModelPattern, ...], SOME] | None,
        Meta(
            description="Models, as callers name them. A cheaper model that a budget chooses is judged anew.",
        ),
    ] = None
    tiers: Annotated[
        Annotated[tuple[Tier, ...], SOME] | None,
        Meta(
            description="Tiers of the endpoint. A rule with tiers takes these endpoints away and leaves the others; a "
            "request is refused when none is left.",
        ),
    ] = None
    classes: Annotated[
        Annotated[tuple[DataClass, ...], SOME] | None,
        Meta(description="Data class of the request: P0 the most sensitive, P2 public."),
    ] = None
    paths: Annotated[
        Annotated[tuple[PathPattern, ...], SOME] | None,
        Meta(description="API paths, such as `/v1/embeddings` or `/v1/images/*`."),
    ] = None
    networks: Annotated[
        Annotated[tuple[Network, ...], SOME] | None,
        Meta(description="Addresses or networks that the caller is in; `listen.trusted_proxies` counts."),
    ] = None
    times: Annotated[Annotated[tuple[TimeWindow, ...], SOME] | None, Meta(description="When the request came.")] = None


class Policy(Conditions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule. A request that a `deny` holds for is refused, whatever else allows it."""

    name: Annotated[Label, Meta(description="Name in the access log, for whoever asks why. Unique in the file.")]
    effect: Annotated[
        Effect,
        Meta(
            description="`deny` refuses what the rule holds for. `allow` lets it pass where `policy_default` is `deny` "
            "and no rule denies it."
        ),
    ]
    unless: Annotated[
        Conditions | None,
        Meta(
            description="Exceptions: the rule does not hold for what these conditions hold for, all together. What "
            "they cannot tell (an address that is not known) is no exception."
        ),
    ] = None
    owner: Annotated[
        Label | None,
        Meta(
            description="Tenant whose rule it is: it holds for that tenant alone and can only deny. The control plane "
            "sets it for rules that tenants made; leave it out."
        ),
    ] = None
