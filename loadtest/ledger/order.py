"""What is asked for and by whom, and when workers die: pure functions of the seed.

Owns the random choices. Does no I/O, reads no clock. Concurrency: frozen values.
"""

import random
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from loadtest.checker.accounts import Bound
from loadtest.driver.plan import Load, Plan
from loadtest.driver.plan import draw as draw_plan

Store = Literal["sqlite", "postgresql"]

INPUT_PRICE: Final = 2
OUTPUT_PRICE: Final = 7
"""Nano-units per token, at the mock and (as EUR per million tokens) in the gateway's settings."""
CURRENCY: Final = "EUR"

FREE, HELD = "free", "held"
"""Tenants. The one has a budget beyond reach, so that every request reserves; the other is held to BOUND besides."""
TENANTS: Final = (FREE, FREE, FREE, HELD)
BOUND: Final = Bound(tenant=HELD, per_second=10.0, burst=5)
PLACES: Final = 3
"""Requests of the held tenant at once."""

WELL: Final[dict[str, Any] | None] = None
FAULTS: Final[tuple[dict[str, Any] | None, ...]] = (
    *(WELL,) * 16,
    *({"usage": shape} for shape in ("none", "null", "zero", "negative", "huge", "nan", "final_with_choices", "every")),
    {"status": 500},
    {"status": 500, "charge": True},
    {"status": 429},
    {"die": "pre", "charge": True},
    {"cut_after": 2, "how": "rst"},
    {"cut_after": 3},
    {"in_band_error": 2},
    {"stall_after": 2},
    {"ttft": 5},
)
"""What a request asks the mock to do to it, at every endpoint that it comes to: one in three goes wrong."""
SCRIPT: Final[Sequence[dict[str, Any]]] = (
    *({},) * 6,
    {"status": 500, "charge": True},
    {"die": "pre", "charge": True},
    {"status": 503},
)
"""What the first endpoint does to requests that ask for nothing: the second one answers those."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A run: so many requests from so many callers, and so many kills spread over them."""

    seed: int
    n: int
    kills: int
    store: Store = "sqlite"
    callers: int = 16
    workers: int = 4
    bound: Bound = BOUND
    places: int = PLACES


class Ask(msgspec.Struct, frozen=True):
    """One request, and whose."""

    tenant: str
    plan: Plan


class Kill(msgspec.Struct, frozen=True):
    """A worker dies once so many requests were begun, and `after` seconds later. target: which, modulo how many."""

    at: int
    after: float
    target: int


def load_of(order: Order, target: str, key: str) -> Load:
    """What the driver needs to know of a caller."""
    return Load(target=target, n=order.n, seed=order.seed, cancel_ratio=0.15, stream_ratio=0.6, key=key, timeout_s=20.0)


def draw(order: Order, load: Load, number: int) -> Ask:
    """Request `number`: the same for the same seed, whatever ran before."""
    rand = random.Random(f"{order.seed}:{number}:ledger")
    plan = draw_plan(load, number)
    body = msgspec.json.decode(plan.body)
    fault = rand.choice(FAULTS)
    if fault is not None:
        body["mock"] = fault
    if rand.random() < 0.5:
        body.pop("stream_options", None)  # the gateway asks for usage by itself then
    return Ask(rand.choice(TENANTS), msgspec.structs.replace(plan, body=msgspec.json.encode(body)))


def draw_kills(order: Order) -> list[Kill]:
    """In the order of their coming, spread over the run."""
    rand = random.Random(f"{order.seed}:kills")
    moments = sorted(rand.randrange(order.n // 20, order.n) for _ in range(order.kills))
    return [Kill(at, rand.uniform(0.0, 0.2), rand.randrange(1 << 16)) for at in moments]
