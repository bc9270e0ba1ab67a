"""What is counted in the race, who takes part in which of it, and what Fastpath may cost. Pure data."""

from typing import Literal

import msgspec

from bench.stage.callers import long_body, make_body

Behind = Literal["plain", "paced", "secure"]
"""Which upstream a unit needs: one fixed answer, paced chunks, or those over TLS."""
MEGABYTE = 1_000_000


class Unit(msgspec.Struct, frozen=True):
    """One thing that is counted. Every figure is divided by the anchor's of the same round."""

    name: str
    title: str
    behind: Behind
    anchor: str

    @property
    def streamed(self) -> bool:
        """Counted in chunks, not in requests."""
        return self.behind != "plain"


UNITS = {
    unit.name: unit
    for unit in (
        Unit("request", "request, 0.9 kB", "plain", "haproxy"),
        Unit("prompt-53k", "request, 53 kB", "plain", "haproxy"),
        Unit("prompt-1m", "request, 1 MB", "plain", "haproxy"),
        Unit("chunk", "streamed chunk", "paced", "nginx"),
        Unit("tls-chunk", "streamed chunk, TLS upstream", "secure", "nginx"),
    )
}
NATIVE, GRANIAN, TWO_WORKERS = "fastpath-native", "fastpath-granian", "fastpath-native-2w"
ROUTERS = ("sglang-router", "vllm-router", "litellm")
PARTS = {
    # Two workers on one CPU say what sharing costs, nothing about throughput. LiteLLM takes 500 times haproxy's CPU:
    # a stream of it would be a queue. The routers' TLS to an engine is not their usual place.
    TWO_WORKERS: ("request",),
    "litellm": ("request",),
    "sglang-router": ("request", "prompt-53k", "prompt-1m", "chunk"),
    "vllm-router": ("request", "prompt-53k", "prompt-1m", "chunk"),
}


class Goal(msgspec.Struct, frozen=True):
    """The most that `name` may cost per unit, as a ratio to `anchor`."""

    unit: str
    name: str
    anchor: str
    limit: float


GOALS = (
    Goal("request", NATIVE, "haproxy", 1.2),
    Goal("prompt-53k", NATIVE, "haproxy", 1.5),
    Goal("chunk", NATIVE, "nginx", 1.0),
    Goal("tls-chunk", NATIVE, "nginx", 1.3),
    Goal("request", GRANIAN, "haproxy", 2.8),
    Goal("chunk", GRANIAN, "nginx", 1.9),
    Goal("request", TWO_WORKERS, NATIVE, 1.1),
    *(
        Goal(unit, door, router, 1.0)
        for unit in ("request", "chunk")
        for door in (NATIVE, GRANIAN)
        for router in ROUTERS
    ),
)


def takes_part(name: str, unit: str) -> bool:
    """Whether a contestant is measured in a unit."""
    return unit in PARTS.get(name, tuple(UNITS))


def body_of(unit: Unit) -> bytes:
    """The request body of a unit, with the mark that makes each one unique."""
    if unit.streamed:
        return make_body("request_stream")
    return long_body(MEGABYTE) if unit.name == "prompt-1m" else make_body(BODY_FILES[unit.name])


BODY_FILES = {"request": "request", "prompt-53k": "request_50k"}
