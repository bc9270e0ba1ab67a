"""The part of a shared limit that this node works by: where it lies in the arena, and how a plan takes it.

Owns the names of those cells and what is in them. One process of the node writes them (`fastpath.shares`); workers read
them every `REFRESH` at most, except for the caps of budgets, which are looked at in the step that admits. A node whose
parts nobody wrote yet takes its fair one, and of a budget nothing.

    share    word   of a rate: billionths of it
    meter    pair   of a rate: units admitted and refused so far
    places   word   of concurrency: one more than may run at once here
    missed   word   of concurrency: requests refused so far; of a budget: the largest amount refused lately
    caps     pairs  of a budget: what this node may commit, by period
    others   pair   of a budget: what other nodes committed, by period
    degraded word   whether the node goes on without the others
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from _native.arena import Arena, Pair, Word, digest
from _native.limiter import ANY_PERIOD

if TYPE_CHECKING:
    from fastpath.limits.plan import Fund, Plan

WHOLE: Final = 1_000_000_000
"""All of a rate. A node's part of it is never below `LEAST`, so that its first request after a rest passes."""
LEAST: Final = WHOLE // 1000
REFRESH: Final = 200_000_000
"""ns between two looks of a plan."""
MOST_DEPTH: Final = 1 << 60


class Parts:
    """What a node has of shared limits. `nodes`: how many there are at least."""

    def __init__(self, arena: Arena, nodes: int) -> None:
        self.nodes = max(1, nodes)
        self._arena = arena
        self.degraded = self._word("degraded", b"")

    def share(self, id: bytes) -> Word:
        return self._word("share", id)

    def meter(self, id: bytes) -> Pair:
        return self._arena.pair(_name("meter", id))

    def places(self, id: bytes) -> Word:
        return self._word("places", id)

    def missed(self, id: bytes) -> Word:
        return self._word("missed", id)

    def caps(self, id: bytes) -> tuple[Pair, Pair]:
        return self._arena.pair(_name("cap", id)), self._arena.pair(_name("cap too", id))

    def others(self, id: bytes) -> Pair:
        return self._arena.pair(_name("others", id))

    def share_of(self, word: Word) -> int:
        """Billionths of a rate."""
        return min(max(word.value or WHOLE // self.nodes, LEAST), WHOLE)

    def places_of(self, word: Word, most: int) -> int:
        """How many may run at once here."""
        return min(word.value - 1, most) if word.value else max(1, most // self.nodes)

    def _word(self, kind: str, id: bytes) -> Word:
        return self._arena.word(_name(kind, id))


class PlanParts:
    """The parts of everything in one plan."""

    def __init__(self, parts: Parts, rates: list[bytes], slots: list[bytes], funds: list[bytes]) -> None:
        """Ids of the plan's rates, slots and budgets, as `plan` has them."""
        self._parts = parts
        self._shares = [parts.share(id) for id in rates]
        self._places = [parts.places(id) for id in slots]
        self._missed_places = [parts.missed(id) for id in slots]
        self._missed_funds = [parts.missed(id) for id in funds]
        self._others = [parts.others(id) for id in funds]
        self.others = [0] * len(funds)
        self.degraded = False

    def refresh(self, plan: "Plan") -> None:
        """Takes what this node may use now."""
        self.degraded = bool(self._parts.degraded.value)
        for place, word in enumerate(self._shares):
            plan.pace_part(place, self._parts.share_of(word))
        for place, word in enumerate(self._places):
            plan.limiter.widen(place, self._parts.places_of(word, plan.slots[place].limit.most or 0))
        for place, pair in enumerate(self._others):
            self._hear_of_others(plan, place, plan.funds[place], pair)

    def _hear_of_others(self, plan: "Plan", place: int, fund: "Fund", pair: Pair) -> None:
        period = ANY_PERIOD if fund.days > 1 else plan.spans[place].number if plan.spans else 0
        stamp, value = pair.read()
        used = value if stamp == period else 0
        if used == self.others[place]:
            return
        self.others[place] = used
        plan.expect(place)

    def miss_place(self, place: int) -> None:
        """A request found no place here."""
        _change(self._missed_places[place], lambda value: value + 1)

    def miss_fund(self, place: int, amount: int) -> None:
        """A request of so much did not fit into what this node may commit."""
        _change(self._missed_funds[place], lambda value: max(value, amount))


def _change(word: Word, change: Callable[[int], int]) -> None:
    while not word.compare_and_set(value := word.value, change(value)):
        pass


def _name(kind: str, id: bytes) -> bytes:
    return digest("part", kind, id.hex())
