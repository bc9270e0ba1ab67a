"""Which of a model's replicas takes the next attempt. Pure decisions over the endpoint table."""

from collections.abc import Callable, Sequence

from scheduler.endpoint import EndpointTable

#: (table, candidate slots) -> the chosen slot. Candidates are never empty.
Picker = Callable[[EndpointTable, Sequence[int]], int]


def weighted_round_robin(table: EndpointTable, slots: Sequence[int]) -> int:
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


def least_in_flight(table: EndpointTable, slots: Sequence[int]) -> int:
    """Fewest running attempts per weight; ties go to whoever was picked longest ago. Weight 0 only when alone."""
    turn, weight, in_flight = table.turn, table.weight, table.in_flight
    best, best_load, latest = -1, 0.0, 0
    for slot in slots:
        latest = max(latest, turn[slot])
        load = (in_flight[slot] + 1) / weight[slot] if weight[slot] else float("inf")
        if best < 0 or load < best_load or (load == best_load and turn[slot] < turn[best]):
            best, best_load = slot, load
    turn[best] = latest + 1
    return best


PICKERS: dict[str, Picker] = {
    "weighted_round_robin": weighted_round_robin,
    "least_in_flight": least_in_flight,
}
