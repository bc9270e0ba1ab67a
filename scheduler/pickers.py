"""The pickers: pure decisions over the endpoint table, each in one pass or two over the candidates.

All share three rules: a slot that was not given is never picked; weight 0 is picked only when no other is given;
candidates that look alike take turns (never the first of them), without making up for turns missed while they did not.
`turn` is each picker's own credit, so one slot is picked by one picker at a time: a reload that changes the picker
starts the turns anew. `ask` is ignored where a picker looks at nothing of it. One worker's loop.
"""

from collections.abc import Callable, Sequence
from math import exp, inf

from scheduler.ask import Ask
from scheduler.endpoint import EndpointTable

ANYONE = Ask()
#: Seconds in which a time to the first token that nobody confirms is worth 1/e (peak_ewma).
FORGET = 10.0
#: Seconds that an attempt costs where no first token was seen yet: less than any model, so it is tried first.
UNKNOWN = 0.001


def weighted_round_robin(table: EndpointTable, slots: Sequence[int], ask: Ask = ANYONE) -> int:
    """Smooth weighted round robin: shares follow the weights and equal ones alternate. Weight 0 only when alone."""
    turn, weight = table.turn, table.weight
    if len(slots) == 1:
        return slots[0]
    total = 0
    best = -1
    for slot in slots:
        share = weight[slot]
        total += share
        turn[slot] += share
        if share and (best < 0 or turn[slot] > turn[best]):
            best = slot
    if best < 0:
        return least_in_flight(table, slots)
    turn[best] -= total
    return best


def least_cost(table: EndpointTable, slots: Sequence[int], ask: Ask = ANYONE) -> int:
    """Least seconds to the first token, by what waits and runs there: `Load.least`."""
    return table.load.least(slots if isinstance(slots, list) else list(slots), ask.tokens, ask.now)


def least_in_flight(table: EndpointTable, slots: Sequence[int], ask: Ask = ANYONE) -> int:
    """Fewest running attempts per weight, of all workers; ties go to whoever was picked longest ago."""
    return table.load.fewest(slots if isinstance(slots, list) else list(slots))


def round_robin(table: EndpointTable, slots: Sequence[int], ask: Ask = ANYONE) -> int:
    """Whoever was picked longest ago, whatever its weight."""
    return _least(table, slots, lambda slot: 0.0 if table.weight[slot] else inf)


def peak_ewma(table: EndpointTable, slots: Sequence[int], ask: Ask = ANYONE) -> int:
    """Least of (time to the first token as last seen) x (running attempts + 1) / weight.

    What was seen fades, so that somebody slow is tried again; somebody unknown is tried at once, one attempt at a time
    as long as others are idle.
    """

    def cost(slot: int) -> float:
        weight = table.weight[slot]
        if not weight:
            return inf
        running = table.in_flight[slot] + table.in_flight_elsewhere[slot]
        seen = table.ttft[slot] * exp(min(0.0, (table.ttft_at[slot] - ask.now) / FORGET))
        if not table.ttft_at[slot] and running:
            return 1e9 + running / weight
        return max(seen, UNKNOWN) * (running + 1) / weight

    return _least(table, slots, cost)


def power_of_two(table: EndpointTable, slots: Sequence[int], ask: Ask = ANYONE) -> int:
    """The less loaded (as least_in_flight counts) of two that lots are drawn for by weight."""
    slots = _weighty(table, slots)
    first = _draw(table, slots, ask)
    if len(slots) == 1:
        return first
    return least_in_flight(table, [first, _draw(table, [slot for slot in slots if slot != first], ask)])


def random(table: EndpointTable, slots: Sequence[int], ask: Ask = ANYONE) -> int:
    """By lots, according to the weights. For comparison: it is what all others must beat."""
    return _draw(table, _weighty(table, slots), ask)


def consistent_hash(table: EndpointTable, slots: Sequence[int], ask: Ask = ANYONE) -> int:
    """The same endpoint for the same key, while that has at most 1.25 times its share of what runs: `Load.home`.
    Without one of n endpoints its own keys move and no others."""
    return table.load.home(slots if isinstance(slots, list) else list(slots), ask.key)


def _weighty(table: EndpointTable, slots: Sequence[int]) -> Sequence[int]:
    """Those that have a weight; all where none has."""
    found = [slot for slot in slots if table.weight[slot]]
    return found or slots


def _draw(table: EndpointTable, slots: Sequence[int], ask: Ask) -> int:
    """One of them by lot, according to the weights, or equally where none has one."""
    weights = [table.weight[slot] for slot in slots]
    if not any(weights):
        weights = [1] * len(slots)
    left = ask.draw() * sum(weights)
    for slot, weight in zip(slots, weights, strict=True):
        left -= weight
        if left < 0:
            return slot
    return slots[-1]


def _least(table: EndpointTable, slots: Sequence[int], cost: Callable[[int], float]) -> int:
    """The slot of least cost; of equals the one that was picked longest ago."""
    turn = table.turn
    best, lowest, latest = -1, 0.0, 0
    for slot in slots:
        latest = max(latest, turn[slot])
        found = cost(slot)
        if best < 0 or found < lowest or (found == lowest and turn[slot] < turn[best]):
            best, lowest = slot, found
    turn[best] = latest + 1
    return best
