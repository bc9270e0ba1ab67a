"""Routes of many endpoints to be chosen from, and how long a whole decision takes. Not a test: `test_score` is."""

import time
from types import SimpleNamespace
from typing import Any

from _native.score import Ask
from fastpath.money.catalog import open_catalog
from fastpath.observe.metrics import Metrics
from fastpath.route.among import choose_among
from fastpath.route.wanted import Wanted
from fastpath.settings import Endpoint, Model, Settings
from fastpath.settings.tenancy import ModelPrice
from fastpath.snapshot import compile_snapshot
from scheduler.clock import ManualClock
from scheduler.endpoint import EndpointTable

KINDS = 50
DECISIONS = 2_000


class Choosing:
    """A model of `count` endpoints of fifty kinds. `local` of them are at home, the others in clouds."""

    def __init__(self, count: int, local: int) -> None:
        endpoints = tuple(_endpoint(number, "L1" if number < local else "L2") for number in range(count))
        settings = Settings(models=(Model(name="m", endpoints=endpoints),))
        table, backend = EndpointTable(), lambda spec: spec
        arena = Metrics().arena
        snapshot = compile_snapshot(settings, 1, table, backend, None, 0, open_catalog(None), None, arena=arena)  # type: ignore[arg-type]  # nobody is called
        self.route = snapshot.routes["m"]
        self._runtime: Any = SimpleNamespace(clock=ManualClock(), table=table, metrics=None, random=None)
        self._wanted = Wanted(Ask(2 if count == local else 0, 100, 300, 400), 1, None)
        self._tiers = 7 if count == local else 3
        self._left = tuple([target for target in self.route.targets if target.tier == "L1"])

    def decide(self) -> str:
        """One decision of a request that may only stay at home, unless all are."""
        record = SimpleNamespace(ts=0.0, choices=None, attempts=0)
        exchange, path = SimpleNamespace(fields={}), SimpleNamespace(template="/v1/chat/completions")
        ctx: Any = SimpleNamespace(
            record=record,
            wanted=self._wanted,
            tiers=self._tiers,
            label=None,
            decision=None,
            path=path,
            exchange=exchange,
        )
        return choose_among(ctx, self.route, self._left, self._runtime).name

    def times(self) -> list[float]:
        """Seconds of each of many decisions, the shortest first."""
        took = []
        for _ in range(DECISIONS):
            began = time.perf_counter()
            self.decide()
            took.append(time.perf_counter() - began)
        return sorted(took)


def percentile(sorted_times: list[float], share: float) -> float:
    return sorted_times[min(len(sorted_times) - 1, int(len(sorted_times) * share))]


def _endpoint(number: int, tier: Any) -> Endpoint:
    kind = number % KINDS
    return Endpoint(
        url=f"http://e{number}.test/v1",
        name=f"e{number}",
        tier=tier,
        quality=0.5 + kind / 200,
        supports=("tools",),
        price=ModelPrice(input=1.0 + kind),
    )
