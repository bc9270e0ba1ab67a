"""Live facts about endpoints, as plain arrays indexed by slot (the shared-memory arena will replace the arrays).

A slot belongs to a key (an endpoint's identity) and outlives reloads that keep the endpoint, so in-flight counts are
never lost. One worker's loop writes; nobody else reads.
"""

from array import array
from collections.abc import Hashable, Iterable


class EndpointTable:
    """in_flight: attempts running; weight: configured share; turn: the picker's credit. All by slot."""

    def __init__(self) -> None:
        self.in_flight = array("q")
        self.weight = array("q")
        self.turn = array("q")
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

    def retain(self, keys: Iterable[Hashable]) -> None:
        """Frees the slots of all other keys whose last attempt has ended; the rest are freed by a later call."""
        keep = set(keys)
        for key, slot in list(self._slots.items()):
            if key not in keep and self.in_flight[slot] == 0:
                del self._slots[key]
                self._free.append(slot)

    def _grow(self) -> int:
        for column in (self.in_flight, self.weight, self.turn):
            column.append(0)
        return len(self.weight) - 1
