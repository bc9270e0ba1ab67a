"""A model's route without a gateway: endpoints with live facts, asked for whatever a request may want."""

import random
from types import SimpleNamespace
from typing import Any

from _native.score import Ask
from fastpath.money.catalog import open_catalog
from fastpath.observe.metrics import Metrics
from fastpath.route.among import choose_among
from fastpath.route.trace import choices
from fastpath.route.wanted import Wanted
from fastpath.settings import Endpoint, Model, Routing, Settings
from fastpath.settings.tenancy import ModelPrice
from fastpath.snapshot import Route, Snapshot, compile_snapshot
from scheduler.choice import Choice
from scheduler.clock import ManualClock
from scheduler.endpoint import EndpointTable
from scheduler.steps import CAPABILITIES

CATALOG = open_catalog(None)
CLASSES = ("P0", "P1", "P2")
#: What the prices below are made for: a request that costs as much as `price` says.
PROMPT, ANSWER = 100, 300
TIER_BITS = {"P0": 3, "P1": 3, "P2": 7}
EVERY_TIER = 7


class Counts:
    """Counts like metrics do."""

    def __init__(self) -> None:
        self.all: dict[tuple[str, tuple[str, ...]], int] = {}

    def count(self, name: str, labels: tuple[str, ...]) -> None:
        self.all[name, labels] = self.all.get((name, labels), 0) + 1


def place(name: str, tier: str = "L1", price: float | None = 1.0, **facts: Any) -> Endpoint:
    """An endpoint. price: of one request of this module, in dollars; None: nobody says."""
    cost = None if price is None else ModelPrice(request=price)
    return Endpoint(url=f"http://{name}.test/v1", name=name, tier=tier, price=cost, **({"throughput": 1e9} | facts))  # type: ignore[arg-type]  # one of the three


class World:
    """One model. `ask` is one attempt of one request."""

    def __init__(self, *endpoints: Endpoint, routing: Routing | None = None, **model: Any) -> None:
        self.table = EndpointTable()
        self.clock = ManualClock()
        self.metrics = Counts()
        self.settings = Settings(models=(Model(name="m", endpoints=endpoints, **model),), routing=routing or Routing())
        self.snapshot = self.compile()

    def compile(self) -> Snapshot:
        backend: Any = lambda spec: None  # noqa: E731  # nobody is called
        return compile_snapshot(self.settings, 1, self.table, backend, None, 0, CATALOG, None, arena=Metrics().arena)

    @property
    def route(self) -> Route:
        return self.snapshot.routes["m"]

    def slot(self, name: str) -> int:
        return next(target.slot for target in self.route.targets if target.name == name)

    def set(self, column: str, **values: float) -> "World":
        """Live facts, by endpoint."""
        for name, value in values.items():
            getattr(self.table, column)[self.slot(name)] = value
            if column == "ttft":
                self.table.ttft_at[self.slot(name)] = self.clock.monotonic()
            if column == "queued":
                self.table.sampled_at[self.slot(name)] = self.clock.monotonic()
        return self

    def decide(
        self, data_class: str = "P2", *, wants: tuple[str, ...] = (), prompt: int = PROMPT, answer: int = ANSWER,
        language: str | None = None, without: tuple[str, ...] = (), tiers: int | None = None, scenario: str = "",
        path: str = "/v1/chat/completions",
    ) -> Choice:  # fmt: skip
        """The choice that was made, as it is told. Raises GatewayError."""
        bits = sum(1 << CAPABILITIES.index(name) for name in wants)
        wanted = Wanted(Ask(CLASSES.index(data_class), prompt, answer, prompt + answer), bits, language)
        return self.decide_for(wanted, data_class, without=without, tiers=tiers, scenario=scenario, path=path)

    def decide_for(
        self, wanted: Wanted, data_class: str = "P2", *, without: tuple[str, ...] = (), tiers: int | None = None,
        scenario: str = "", path: str = "/v1/chat/completions",
    ) -> Choice:  # fmt: skip
        """The same for what a request was found to want."""
        tiers = TIER_BITS[data_class] if tiers is None else tiers
        left = tuple(
            target
            for target in self.route.targets
            if TIERS[target.tier] & tiers and target.name not in without
            and (target.paths is None or path in target.paths)
        )  # fmt: skip
        ctx: Any = SimpleNamespace(
            record=SimpleNamespace(ts=self.clock.now(), choices=None, attempts=len(without)),
            wanted=wanted,
            tiers=tiers,
            label=None,
            path=SimpleNamespace(template=path),
            exchange=SimpleNamespace(fields={b"x-fastpath-scenario": scenario.encode()}),
        )
        runtime: Any = SimpleNamespace(clock=self.clock, table=self.table, metrics=self.metrics, random=random.random)
        self.ctx = ctx
        assert self.route.lineup is not None
        target = choose_among(ctx, self.route, left, runtime)
        self.picked = target.name
        told = choices(ctx.record)
        if not told:
            return Choice("m", target.name, "alike")
        (choice,) = told
        assert choice.endpoint == target.name, "what is told is what was done"
        return choice


TIERS = {"L0": 1, "L1": 2, "L2": 4}


def dropped(choice: Choice) -> dict[str, str]:
    """Endpoint -> step/reason."""
    return {one.endpoint: f"{one.step}/{one.reason}" for one in choice.dropped}


def totals(choice: Choice) -> dict[str, float]:
    return {one.endpoint: one.total for one in choice.scored}
