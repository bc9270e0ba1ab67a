"""Which of a model's replicas takes the next attempt: the pickers by the names that settings use.

Owns the table of names. What each looks at is in `scheduler.pickers`, and for people in docs/explanation/pickers.md.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from scheduler import pickers
from scheduler.ask import Ask
from scheduler.endpoint import EndpointTable

#: (table, candidate slots, what is asked) -> the chosen slot, one of the candidates, which are never empty.
Picker = Callable[[EndpointTable, Sequence[int], Ask], int]

PICKERS: Final[Mapping[str, Picker]] = MappingProxyType(
    {
        "weighted_round_robin": pickers.weighted_round_robin,
        "weighted": pickers.weighted_round_robin,
        "least_cost": pickers.least_cost,
        "least_in_flight": pickers.least_in_flight,
        "round_robin": pickers.round_robin,
        "power_of_two": pickers.power_of_two,
        "peak_ewma": pickers.peak_ewma,
        "consistent_hash": pickers.consistent_hash,
        "random": pickers.random,
    }
)
