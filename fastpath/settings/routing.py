"""How an endpoint is chosen among those that could serve a request: weights, bounds, strategies and scenarios.

Owns the Structs and the strategies that are shipped, as data. Does not own what the scores mean (docs/explanation/
choosing.md) or who compiles them (`scheduler.strategies`). Pure.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from fastpath.settings.kinds import Label, Seconds

StrategyName = Literal["balanced", "cost_first", "latency_first", "quality_first", "local_first", "pinned"]
ScenarioName = Literal["chat", "documents", "code"]
Share = Annotated[float, Meta(ge=0, le=1, extra={"unit": "share"})]
Dollars = Annotated[float, Meta(gt=0, le=1e6)]


class Weights(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What counts how much. Together with the weights of `routing.scorers` they are 1."""

    safety: Annotated[Share, Meta(description="That data stays near.")] = 0.40
    capability: Annotated[Share, Meta(description="Quality, and how well the request fits.")] = 0.25
    latency: Annotated[Share, Meta(description="The predicted time to the first token.")] = 0.20
    cost: Annotated[Share, Meta(description="What the request costs there.")] = 0.15


class TierScores(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How safe each tier is for one data class. It orders what is allowed; it never allows what is not."""

    L0: Annotated[Share, Meta(description="On a user's own terminal.")] = 1.0
    L1: Annotated[Share, Meta(description="On your own servers.")] = 1.0
    L2: Annotated[Share, Meta(description="In a provider's cloud, where data of the class may go there at all.")] = 0.0


class Safety(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The safety score by data class and tier."""

    P0: Annotated[TierScores, Meta(description="Of data that never leaves your machines.")] = TierScores(L0=0.8)
    P1: Annotated[TierScores, Meta(description="Of data that leaves them masked.")] = TierScores(L2=0.3)
    P2: Annotated[TierScores, Meta(description="Of data that may go anywhere.")] = TierScores(L2=0.6)


class ExtraScorer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A scorer that a package brings, by its entry point."""

    name: Annotated[Label, Meta(description="Name of the entry point in the group `fastpath.scorers`.")]
    weight: Annotated[Share, Meta(description="What it counts, beside `routing.weights`.")]


class Routing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the best endpoint is found, for every model."""

    weights: Annotated[
        Weights, Meta(description="What counts how much under the strategy `balanced`, the default.")
    ] = Weights()
    safety: Annotated[Safety, Meta(description="How safe each tier is for each data class.")] = Safety()
    ttft_slo: Annotated[
        Seconds,
        Meta(description="Time to the first token that is good: at this one the latency score is one half."),
    ] = 1.0
    deadline: Annotated[
        Seconds,
        Meta(
            description="Endpoints whose first token is predicted later than this are left out while another is not. "
            "With all of them late, late is better than never."
        ),
    ] = 10.0
    cost_ceiling: Annotated[
        Dollars | None,
        Meta(
            extra={"unit": "US dollars per request"},
            description="Endpoints where a request is expected to cost more are left out, and clouds of unknown price. "
            "A request for which nobody else is left is refused. None: no ceiling.",
        ),
    ] = None
    answer: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            extra={"unit": "tokens"},
            description="Length of an answer that costs are compared by, or what a request allows where that is less.",
        ),
    ] = 300
    saturation: Annotated[
        Share,
        Meta(
            extra={"unit": "share of the KV cache"},
            description="An endpoint that says it uses this much of its KV cache is full, and left out while another "
            "is not. Believed for 5 s.",
        ),
    ] = 0.98
    overflow_wait: Annotated[
        Seconds,
        Meta(
            description="Under `local_first`: seconds of prompts waiting at the least busy local endpoint above which "
            "requests go to the cloud."
        ),
    ] = 2.0
    overflow_back: Annotated[
        Seconds,
        Meta(
            description="Under `local_first`: seconds of prompts waiting below which the cloud is left again. Less "
            "than `overflow_wait`, so that requests do not go to and fro."
        ),
    ] = 1.0
    scenario_header: Annotated[
        bool,
        Meta(
            description="Whether a caller may choose a scenario with `x-fastpath-scenario`. It only orders what is "
            "allowed, and may choose what costs you more."
        ),
    ] = False
    scorers: Annotated[
        tuple[ExtraScorer, ...],
        Meta(description="Scorers of other packages (docs/reference/routing.md), for models that are `balanced`."),
    ] = ()
    filters: Annotated[
        tuple[Label, ...],
        Meta(description="Filters of other packages: names of entry points in the group `fastpath.filters`."),
    ] = ()
    picker: Annotated[
        Label | None,
        Meta(
            description="Picker of another package, in place of every model's own: the name of an entry point in the "
            "group `fastpath.pickers`. None: each model's own."
        ),
    ] = None


class Shipped(Struct, frozen=True):
    """A strategy or scenario as data. None: as `routing` says. Times in seconds."""

    weights: Weights | None = None
    ttft_slo: float | None = None
    deadline: float | None = None


STRATEGIES: Final[Mapping[StrategyName, Shipped]] = {
    "balanced": Shipped(),
    "cost_first": Shipped(Weights(safety=0.15, capability=0.10, latency=0.05, cost=0.70)),
    "latency_first": Shipped(Weights(safety=0.15, capability=0.10, latency=0.70, cost=0.05)),
    "quality_first": Shipped(Weights(safety=0.15, capability=0.70, latency=0.10, cost=0.05)),
    "local_first": Shipped(Weights(safety=0.15, capability=0.10, latency=0.05, cost=0.70)),
    "pinned": Shipped(),
}
#: What people use models for. chat: somebody waits for the first word. documents: long prompts by night, nobody waits.
#: code: a wrong answer costs more than a slow one.
SCENARIOS: Final[Mapping[ScenarioName, Shipped]] = {
    "chat": Shipped(Weights(safety=0.30, capability=0.20, latency=0.40, cost=0.10), ttft_slo=0.5, deadline=5.0),
    "documents": Shipped(Weights(safety=0.40, capability=0.20, latency=0.05, cost=0.35), ttft_slo=10.0, deadline=120.0),
    "code": Shipped(Weights(safety=0.30, capability=0.50, latency=0.10, cost=0.10), ttft_slo=2.0, deadline=20.0),
}
