"""Who keys belong to, and what they may use and spend: tenants, teams, users, limits, budgets, prices.

A part of the settings tree of `schema`, whose head holds here too. What the words mean on the request path is in
`fastpath.limits`; which of them go together is in `tenancy_rules`.
"""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from fastpath.money.price import Price
from fastpath.settings.kinds import ApiPath, Currency, DataClass, Label, ModelName, Network, TimeZone
from fastpath.settings.residency import Residency

Counted = Literal["requests", "input_tokens", "output_tokens", "tokens", "weighted_tokens", "concurrency"]
Window = Literal["second", "minute", "hour", "day"]
Period = Literal["day", "month", "rolling"]
Action = Literal["warn", "degrade", "block"]

MILLION = 1_000_000
MONTH = 31 * 86_400
PricePart = Annotated[float, Meta(ge=0, le=1_000_000_000)]
Many = Annotated[int, Meta(ge=1, le=10**15)]
Share = Annotated[float, Meta(gt=0, le=1)]
Span = Annotated[float, Meta(gt=0, le=MONTH)]
Weight = Annotated[float, Meta(ge=0, le=1_000)]
Money = Annotated[float, Meta(gt=0, le=1_000_000_000)]
Days = Annotated[int, Meta(ge=2, le=31)]
Ppm = Annotated[int, Meta(ge=-1_000_000, le=1_000_000_000, extra={"unit": "millionths"})]
Alternatives = Annotated[int, Meta(ge=0, le=128)]
Clamped = Annotated[int, Meta(ge=1, le=10_000_000)]
TokenModels = Annotated[
    tuple[ModelName, ...],
    Meta(description="Models that tokens of identity providers may use for it, at most. Empty: none."),
]
OwnerId = Annotated[
    str,
    Meta(
        description="Its id, which bills carry in place of the name. The control plane sets it for its own; leave it "
        "out."
    ),
]

WINDOWS: dict[str, float] = {"second": 1.0, "minute": 60.0, "hour": 3_600.0, "day": 86_400.0}


class Limit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of something may be used per time, or at once. Several may stand side by side: all of them hold."""

    count: Annotated[
        Counted,
        Meta(
            description="What is counted. Tokens are charged when a request begins, as estimated and with the most "
            "that it may answer, and corrected when it ends. `tokens` is input and output together, "
            "`weighted_tokens` input and output x `output_weight`, `concurrency` the requests that run at one time."
        ),
    ] = "requests"
    most: Annotated[
        Many | None,
        Meta(
            extra={"unit": "requests or tokens"},
            description="How many per window; for `concurrency`, how many at once. Beside `share`, it holds while "
            "no capacity was measured yet. None: `share` says it.",
        ),
    ] = None
    share: Annotated[
        Share | None,
        Meta(
            extra={"unit": "share of capacity"},
            description="A share of what the model's endpoints together were measured to serve, instead of a number: "
            "when half of them fail, half as much is admitted a moment later. None: `most` says it.",
        ),
    ] = None
    per: Annotated[Window, Meta(description="The window, by name.")] = "minute"
    window: Annotated[
        Span | None,
        Meta(
            extra={"unit": "seconds"},
            description="The window in seconds, where no name fits. None: `per` says it.",
        ),
    ] = None
    burst: Annotated[
        Many | None,
        Meta(
            extra={"unit": "requests or tokens"},
            description="How many may come at once after a rest; they come back evenly over the window (GCRA), so "
            "that never more than the burst and one window's worth fit into a window. None: one window's worth, "
            "because callers who know limits from elsewhere expect to use a whole minute's at its start. A request "
            "that costs more than the burst never passes.",
        ),
    ] = None
    output_weight: Annotated[
        Weight | None,
        Meta(
            extra={"unit": "input tokens per output token"},
            description="For `weighted_tokens`: how many input tokens one output token counts for. None: 4, which is "
            "near what most providers ask.",
        ),
    ] = None

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return WINDOWS[self.per] if self.window is None else self.window


class ModelLimits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of one owner for one model."""

    model: Annotated[ModelName, Meta(description="A name under `models`.")]
    limits: Annotated[tuple[Limit, ...], Meta(min_length=1, description="What the owner may use of this model.")]


class Threshold(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something to do when so much of a budget is spent."""

    percent: Annotated[
        int,
        Meta(ge=1, le=1_000, extra={"unit": "percent of the budget"}, description="How much of it must be spent."),
    ]
    action: Annotated[
        Action,
        Meta(
            description="Each threshold is told once per period, over all workers. `degrade` sends requests to "
            "`model` from then on, `block` refuses them, counting what running requests have reserved."
        ),
    ] = "warn"
    model: Annotated[ModelName | None, Meta(description="For `degrade`: the cheaper model that answers instead.")] = (
        None
    )


class Budget(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What may be spent per period. A request's worst case is reserved when it begins; what it cost replaces that."""

    name: Annotated[
        Label,
        Meta(
            description="Name in messages and alerts, unique for its owner. What was spent is kept under it: under "
            "another name a budget starts anew."
        ),
    ] = "budget"
    amount: Annotated[
        Money | None,
        Meta(
            extra={"unit": "units of the tenant's currency"},
            description="Money per period. None: `tokens` says it.",
        ),
    ] = None
    tokens: Annotated[
        Many | None,
        Meta(
            extra={"unit": "tokens"},
            description="Input and output tokens per period, instead of money. None: `amount` says it.",
        ),
    ] = None
    period: Annotated[
        Period,
        Meta(
            description="A calendar day or month in the tenant's time zone, or `rolling`: the last `days` days, today "
            "included. A request belongs to the period in which it was admitted."
        ),
    ] = "month"
    days: Annotated[
        Days | None,
        Meta(
            extra={"unit": "days"},
            description="Length of a rolling period. None: the period is not rolling.",
        ),
    ] = None
    carry_over: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            extra={"unit": "share of the budget"},
            description="How much of the budget at most, left over at the end of a calendar period, is added to the "
            "next. It is used first, and thresholds count what comes after it.",
        ),
    ] = 0.0
    hard: Annotated[
        bool,
        Meta(
            description="Refuse what might exceed the budget, with 429 `insufficient_quota`. Off: it is exceeded, and "
            "only thresholds act."
        ),
    ] = True
    thresholds: Annotated[
        tuple[Threshold, ...], Meta(description="What happens when how much is spent, in ascending order.")
    ] = (Threshold(percent=50), Threshold(percent=80), Threshold(percent=100))


class TokenScope(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What tokens of identity providers may be used for, besides models: limits as a key has them."""

    paths: Annotated[
        Annotated[tuple[ApiPath, ...], Meta(min_length=1)] | None,
        Meta(description="API paths; `/v1/models` is one, and stands for its parts too. None: all."),
    ] = None
    networks: Annotated[
        Annotated[tuple[Network, ...], Meta(min_length=1)] | None,
        Meta(description="Addresses or networks that they may be used from. None: anywhere."),
    ] = None
    data_class: Annotated[
        DataClass | None,
        Meta(
            description="Most sensitive class of data that may be sent; what a request counts as that says none. "
            "None: any may be sent."
        ),
    ] = None


TokenScopeOrNone = Annotated[
    TokenScope | None,
    Meta(
        description="What tokens of identity providers may be used for on its behalf, on top of what their issuer, and "
        "whoever is above it, allow. None: all that these do."
    ),
]


class Team(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Some keys of a tenant that share limits and budgets."""

    name: Annotated[Label, Meta(description="Name of the team, unique in its tenant.")]
    limits: Annotated[tuple[Limit, ...], Meta(description="What its keys may use together.")] = ()
    model_limits: Annotated[tuple[ModelLimits, ...], Meta(description="The same for single models.")] = ()
    budgets: Annotated[tuple[Budget, ...], Meta(description="What its keys may spend together.")] = ()
    token_models: TokenModels = ("*",)
    token_scope: TokenScopeOrNone = None
    id: OwnerId = ""


class User(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One person or program with one or several keys."""

    name: Annotated[Label, Meta(description="Name of the user, unique in its tenant.")]
    team: Annotated[Label | None, Meta(description="Team of the user. None: none.")] = None
    limits: Annotated[tuple[Limit, ...], Meta(description="What the user's keys may use together.")] = ()
    model_limits: Annotated[tuple[ModelLimits, ...], Meta(description="The same for single models.")] = ()
    budgets: Annotated[tuple[Budget, ...], Meta(description="What the user's keys may spend together.")] = ()
    token_models: TokenModels = ("*",)
    token_scope: TokenScopeOrNone = None
    id: OwnerId = ""


class Tenant(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A customer, department or project: teams, users and keys that share limits, budgets and a calendar."""

    name: Annotated[Label, Meta(description="Name of the tenant in logs, metrics and records. Unique in the file.")]
    time_zone: Annotated[
        TimeZone, Meta(description="IANA name of the zone whose midnight ends a day, such as `Europe/Berlin`.")
    ] = "UTC"
    currency: Annotated[
        Currency,
        Meta(
            description="ISO 4217 code of the currency that it is billed in and that its budgets are in, such as "
            "`USD`. Prices in another one are converted by the rates of the file `prices` names, which must have one."
        ),
    ] = "USD"
    markup_ppm: Annotated[
        Ppm | None,
        Meta(
            extra={"unit": "millionths"},
            description="What is added to prices for this tenant: 200000 is a fifth, -100000 a tenth off. None: what "
            "the model says.",
        ),
    ] = None
    limits: Annotated[tuple[Limit, ...], Meta(description="What all its keys may use together.")] = ()
    model_limits: Annotated[tuple[ModelLimits, ...], Meta(description="The same for single models.")] = ()
    budgets: Annotated[tuple[Budget, ...], Meta(description="What all its keys may spend together.")] = ()
    data_class: Annotated[
        DataClass | None,
        Meta(
            description="Least class of this tenant's requests: what a request counts as that says none, and what one "
            "that says less is raised to. P0 is the most sensitive, P2 is public. None: the top-level `data_class`."
        ),
    ] = None
    residency: Annotated[
        Residency | None,
        Meta(description="Tiers and regions that its requests may be sent to. None: wherever their class may go."),
    ] = None
    teams: Annotated[tuple[Team, ...], Meta(description="Teams of the tenant, which its keys and users name.")] = ()
    users: Annotated[tuple[User, ...], Meta(description="Users of the tenant, which its keys name.")] = ()
    token_models: TokenModels = ("*",)
    token_scope: TokenScopeOrNone = None
    id: OwnerId = ""


class ModelPrice(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a model costs. Tokens are priced per million, as providers print it."""

    currency: Annotated[Currency, Meta(description="ISO 4217 code of the currency of these prices.")] = "USD"
    input: Annotated[
        PricePart,
        Meta(extra={"unit": "per million tokens"}, description="Input tokens that no prompt cache served."),
    ] = 0.0
    output: Annotated[PricePart, Meta(extra={"unit": "per million tokens"}, description="All output tokens.")] = 0.0
    cached: Annotated[
        PricePart | None,
        Meta(
            extra={"unit": "per million tokens"},
            description="Input tokens read from the provider's prompt cache. None: as `input`.",
        ),
    ] = None
    cache_write: Annotated[
        PricePart | None,
        Meta(
            extra={"unit": "per million tokens"},
            description="Input tokens written to the prompt cache. None: as `input`.",
        ),
    ] = None
    cache_write_long: Annotated[
        PricePart | None,
        Meta(
            extra={"unit": "per million tokens"},
            description="Those written to be kept longer (Anthropic: an hour). None: as `cache_write`.",
        ),
    ] = None
    audio_input: Annotated[
        PricePart | None,
        Meta(extra={"unit": "per million tokens"}, description="Input tokens of sound. None: as `input`."),
    ] = None
    audio_output: Annotated[
        PricePart | None,
        Meta(extra={"unit": "per million tokens"}, description="Output tokens of sound. None: as `output`."),
    ] = None
    reasoning: Annotated[
        PricePart | None,
        Meta(
            extra={"unit": "per million tokens"},
            description="Output tokens of reasoning that is not shown. None: as `output`.",
        ),
    ] = None
    image: Annotated[PricePart, Meta(extra={"unit": "per image"}, description="Each image of a request.")] = 0.0
    request: Annotated[
        PricePart, Meta(extra={"unit": "per request"}, description="Each request, besides its tokens.")
    ] = 0.0

    def as_price(self, version: str) -> Price:
        """The same in the units that amounts are computed in. `version` names this price in records."""
        return Price(
            version=version,
            currency=self.currency,
            input=_pico(self.input, MILLION),
            output=_pico(self.output, MILLION),
            cached=_part(self.cached),
            cache_write=_part(self.cache_write),
            cache_write_long=_part(self.cache_write_long),
            audio_input=_part(self.audio_input),
            audio_output=_part(self.audio_output),
            reasoning=_part(self.reasoning),
            image=_pico(self.image, 1),
            request=_pico(self.request, 1),
        )


class ModelClamp(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The most that a request may ask of a model, so that it cannot cost more than was set aside for it."""

    mode: Annotated[
        Literal["clamp", "refuse"],
        Meta(
            description="What happens to a request that asks for more. `clamp` lowers it in the body that is sent and "
            "says so in `x-fastpath-clamped`; `refuse` answers 400. A limit on the answer is written in either way "
            "where the caller set none."
        ),
    ] = "clamp"
    max_tokens: Annotated[
        Clamped | None,
        Meta(extra={"unit": "tokens"}, description="Tokens of one answer, by whatever name. None: as the caller says."),
    ] = None
    n: Annotated[
        Clamped | None, Meta(extra={"unit": "answers"}, description="Answers, or images. None: as the caller says.")
    ] = None
    best_of: Annotated[
        Clamped | None,
        Meta(extra={"unit": "answers"}, description="Answers that the best is chosen of. None: as the caller says."),
    ] = None
    logprobs: Annotated[
        Alternatives | None,
        Meta(
            extra={"unit": "alternatives"},
            description="Probabilities told for each token (`logprobs`, `top_logprobs`). None: as the caller says.",
        ),
    ] = None
    limit_field: Annotated[
        Literal["max_tokens", "max_completion_tokens"],
        Meta(
            description="What the model server calls the limit on an answer, on chat completions, where the caller "
            "set none: newer models of OpenAI refuse `max_tokens`."
        ),
    ] = "max_tokens"


def _pico(units: float, pieces: int) -> int:
    """Pico-units per piece of so many units of a currency for `pieces`: of the decimal number that was written."""
    return round(Decimal(repr(units)) * 10**12 / pieces)


def _part(units: float | None) -> int | None:
    return None if units is None else _pico(units, MILLION)
