"""Live facts about endpoints, as plain arrays indexed by slot (the shared-memory arena will replace the arrays).

A slot belongs to a key (an endpoint's identity) and outlives reloads that keep the endpoint, so in-flight counts are
never lost. One worker's loop writes; nobody else reads.
"""

from array import array
from collections.abc import Hashable, Iterable
from typing import Any, Final

from _native.load import Load

#: Columns and what a new slot begins with. Times are monotonic seconds of the worker's clock, 0.0: never.
_COLUMNS: Final = {
    "in_flight": "q",  # attempts of this worker that run
    "in_flight_elsewhere": "q",  # those of the other workers, a tick ago
    "weight": "q",  # configured share
    "turn": "q",  # the picker's credit
    "identity": "Q",  # names the endpoint the same in every worker and after a restart, for hashing
    "tokens": "d",  # prompt tokens that this worker sent there and that are not read: integers, back to 0 when idle
    "tokens_elsewhere": "d",  # those of the other workers, a tick ago
    "since": "d",  # those of `tokens` that were sent after the sample of `counted_at`
    "counted_at": "d",  # the `sampled_at` that `since` counts from; where they differ it counts for nothing
    "queued": "d",  # prompt tokens that wait there, by its own word
    "kv_usage": "d",  # share of its KV cache in use, by its own word
    "throughput": "d",  # prompt tokens a second, by its own word or as configured
    "sampled_at": "d",  # when it last gave its word
    "ttft_prior": "d",  # seconds to the first token to expect of it, as configured; 0.0: nobody says
    "throughput_prior": "d",  # prompt tokens a second, as configured
    "out_until": "d",  # nobody sends there before, unless all are out
    "ramp_from": "d",  # when it came back: its share grows from there (slow start)
    "ttft": "d",  # seconds to the first token: a peak EWMA, 0.0 before the first
    "ttft_at": "d",  # when that last changed
}


class EndpointTable:
    """What changes while requests run, a column for each fact and a slot for each endpoint: `_COLUMNS`.

    Whoever learns a fact writes it: the relay what it sends and sees, health when somebody is out, and once a tick what
    other processes know (the arena). Readers take what is there. `load` is the arithmetic over these columns, compiled.
    """

    in_flight: "array[int]"
    in_flight_elsewhere: "array[int]"
    weight: "array[int]"
    turn: "array[int]"
    identity: "array[int]"
    tokens: "array[float]"
    tokens_elsewhere: "array[float]"
    since: "array[float]"
    counted_at: "array[float]"
    queued: "array[float]"
    kv_usage: "array[float]"
    throughput: "array[float]"
    sampled_at: "array[float]"
    ttft_prior: "array[float]"
    throughput_prior: "array[float]"
    out_until: "array[float]"
    ramp_from: "array[float]"
    ttft: "array[float]"
    ttft_at: "array[float]"

    def __init__(self) -> None:
        #: The same arrays by name, for compiled code.
        self.columns: dict[str, array[Any]] = {name: array(code) for name, code in _COLUMNS.items()}
        for name, column in self.columns.items():
            setattr(self, name, column)
        self.load = Load(self.columns)
        self._slots: dict[Hashable, int] = {}
        self._free: list[int] = []

    def slot(self, key: Hashable, weight: int) -> int:
        """The slot of `key`, made when it is new; sets its weight and starts its turns anew."""
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = self._free.pop() if self._free else self._grow()
        self.weight[slot] = weight
        self.turn[slot] = 0
        return slot

    def expect(self, slot: int, identity: int, throughput: float, ttft: float | None) -> None:
        """What is configured of the endpoint. What it said itself of its throughput stays until that changes."""
        self.identity[slot] = identity
        self.ttft_prior[slot] = ttft or 0.0
        if self.throughput_prior[slot] != throughput:
            self.throughput_prior[slot] = self.throughput[slot] = throughput

    def retain(self, keys: Iterable[Hashable]) -> None:
        """Frees the slots of all other keys whose last attempt has ended; the rest are freed by a later call."""
        keep = set(keys)
        for key, slot in list(self._slots.items()):
            if key not in keep and self.in_flight[slot] == 0:
                del self._slots[key]
                self._clear(slot)
                self._free.append(slot)

    def _grow(self) -> int:
        for name in _COLUMNS:
            getattr(self, name).append(0)
        return len(self.weight) - 1

    def _clear(self, slot: int) -> None:
        for name in _COLUMNS:
            getattr(self, name)[slot] = 0
