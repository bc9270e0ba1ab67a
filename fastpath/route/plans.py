"""Settings of routing as strategies: which weights and bounds hold for a model, and for each scenario. Pure."""

from fastpath.settings import Model, Routing, Weights
from fastpath.settings.routing import SCENARIOS, STRATEGIES, Shipped
from scheduler.steps import TIERS
from scheduler.strategies import Strategy

CLASSES = ("P0", "P1", "P2")


def strategy_of(model: Model, routing: Routing, scenario: str | None = None) -> Strategy:
    """The strategy of a model, or that with the weights and times of a scenario."""
    data = STRATEGIES[model.strategy]
    name: str = model.strategy
    if scenario is None:
        scenario = model.scenario
    if scenario is not None:
        data = next(shipped for known, shipped in SCENARIOS.items() if known == scenario)
        name = f"{model.strategy}/{scenario}"
    return _make(name, data, routing, model.strategy == "local_first")


def adds_scorers(model: Model) -> bool:
    """Whether scorers of other packages count: their weights belong to those of `routing`."""
    return STRATEGIES[model.strategy].weights is None and model.scenario is None


def _make(name: str, data: Shipped, routing: Routing, local_first: bool) -> Strategy:
    weights = data.weights or routing.weights
    rows = [getattr(routing.safety, level) for level in CLASSES]
    return Strategy(
        name=name,
        weights=_numbers(weights),
        table=tuple([getattr(row, tier) for row in rows for tier in TIERS]),
        slo=data.ttft_slo or routing.ttft_slo,
        deadline=data.deadline or routing.deadline,
        ceiling=routing.cost_ceiling,
        saturation=routing.saturation,
        local_first=local_first,
        overflow_wait=routing.overflow_wait,
        overflow_back=routing.overflow_back,
    )


def _numbers(weights: Weights) -> tuple[float, float, float, float]:
    return weights.safety, weights.capability, weights.latency, weights.cost
