"""Models: the names that callers use, who serves each, and how long is waited for it. Owns the Structs."""

from typing import Annotated

from msgspec import Meta, Struct

from fastpath.settings.endpoint import Endpoint
from fastpath.settings.kinds import DataClass, Label, ModelName, Picker, Seconds
from fastpath.settings.routing import ScenarioName, StrategyName
from fastpath.settings.tenancy import Limit, ModelClamp, ModelPrice, Ppm


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long to wait for what. Every wait of the gateway ends by one of these."""

    connect: Annotated[
        Seconds | None,
        Meta(
            extra={"unit": "seconds"},
            description="Opening a connection to an endpoint, DNS and TLS included; also the longest wait for a "
            "free one when all are taken. None: 1 s for tiers L0 and L1, which are near, and 3 s "
            "for L2, which may be an ocean away.",
        ),
    ] = None
    first_byte: Annotated[
        Seconds,
        Meta(
            description="From the end of the request to the first byte of the response. Long, because a long prompt "
            "on a busy model server is minutes of prefill and not a fault."
        ),
    ] = 120.0
    idle: Annotated[
        Seconds,
        Meta(
            description="Silence of an endpoint in the middle of a response. Tokens come every few milliseconds; a "
            "minute without one means that the server hangs."
        ),
    ] = 60.0
    total: Annotated[
        Seconds,
        Meta(
            description="The whole request, retries included. The default is the `openai` client's own time-out: "
            "nobody reads an answer that comes later."
        ),
    ] = 600.0
    client_stall: Annotated[
        Seconds,
        Meta(
            description="A caller that reads nothing while an answer waits for it. Its connection is closed then, "
            "because it holds a slot of the model server and memory here."
        ),
    ] = 120.0
    client_body: Annotated[
        Seconds,
        Meta(
            description="Silence of a caller while it sends its request body. Short, because a slow body is the "
            "cheapest way to hold a server's connections."
        ),
    ] = 30.0
    comment_after: Annotated[
        Seconds,
        Meta(
            description="Silence on a stream that has begun and waits for its first token, after which an SSE "
            "comment is sent. Many proxies close a connection that is silent for 30 or 60 s."
        ),
    ] = 15.0
    pool_idle: Annotated[
        Seconds,
        Meta(
            description="How long an idle connection to an endpoint is kept. Less than the 5 s after which uvicorn "
            "closes it: the one who closes first never meets a request on its way."
        ),
    ] = 4.0


class Model(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model under the name that callers use, and who serves it."""

    name: Annotated[
        ModelName,
        Meta(
            description='Name that callers use. `"*"` takes every name that no other entry has and passes it on '
            "unchanged; inside a longer name * has no meaning and is refused."
        ),
    ]
    endpoints: Annotated[
        tuple[Endpoint, ...],
        Meta(min_length=1, description="Who serves it. A request that fails on one is retried on another."),
    ]
    fallbacks: Annotated[
        tuple[ModelName, ...],
        Meta(
            max_length=8,
            description="Models that answer in its place, in this order, when its own endpoints fail: of another "
            "provider, say, and as good. A caller is served by those that its key may use, is told the name in "
            "`x-fastpath-substitute`, and pays their price. Their own fallbacks are not followed.",
        ),
    ] = ()
    substitutes: Annotated[
        tuple[ModelName, ...],
        Meta(
            max_length=8,
            description="Lesser models that answer when nobody else is left, after `fallbacks` and by the same rules. "
            "A caller that wants its own model or none sends `x-fastpath-no-substitute`.",
        ),
    ] = ()
    picker: Annotated[
        Picker,
        Meta(
            description="How an endpoint is chosen among equals. `weighted_round_robin` (or `weighted`) shares by "
            "weight. `least_cost` takes the one that will answer first, by the tokens that wait there and how fast it "
            "reads: for your own model servers. `least_in_flight` takes the one with the fewest running requests, "
            "`power_of_two` the better of two, `peak_ewma` the quickest of late, `consistent_hash` the same one for "
            "the same conversation, `round_robin` and `random` anyone."
        ),
    ] = "weighted_round_robin"
    strategy: Annotated[
        StrategyName,
        Meta(
            description="What matters where endpoints differ in kind (tier, region, quality, price ...). `balanced`: "
            "the weights of `routing`. `cost_first`, `latency_first`, `quality_first`: that above all. `local_first`: "
            "the cheapest at home, and the cloud only while too much waits there. `pinned`: the endpoint of `pin` and "
            "no other."
        ),
    ] = "balanced"
    scenario: Annotated[
        ScenarioName | None,
        Meta(
            description="What the model is used for, which sets weights and times that fit: `chat`, `documents` or "
            "`code`. None: those of the strategy."
        ),
    ] = None
    pin: Annotated[
        Label | None, Meta(description="Name of the only endpoint that is used, under the strategy `pinned`.")
    ] = None
    timeouts: Annotated[
        Timeouts | None,
        Meta(
            description="Time-outs of this model alone. In a file, a field left out here comes from the top-level "
            "`timeouts`. None: those for all."
        ),
    ] = None
    limits: Annotated[
        tuple[Limit, ...],
        Meta(
            description="What all callers together may use of this model. Beyond it they are answered 503 "
            "`overloaded` and not 429, and see no remaining amounts: those would tell them about each other."
        ),
    ] = ()
    price: Annotated[
        ModelPrice | None,
        Meta(
            description="What callers are charged for this model, before markup, whoever serves it. None: what the "
            "price list (`prices`) says of the endpoint that served it; where that says nothing either, it costs "
            "nothing and takes nothing from budgets of money."
        ),
    ] = None
    markup_ppm: Annotated[
        Ppm,
        Meta(
            description="What is added to the price, or below 0 taken off it, for tenants that say nothing themselves."
        ),
    ] = 0
    data_class: Annotated[
        DataClass | None,
        Meta(
            description="Least class of requests for this model, whoever sends them: P0 keeps them on endpoints of "
            "tier L0 and L1. None: the model says nothing of its data."
        ),
    ] = None
    clamp: Annotated[
        ModelClamp | None,
        Meta(description="The most that a request may ask of this model. None: as much as it likes."),
    ] = None
