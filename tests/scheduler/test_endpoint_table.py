"""Slots of endpoints across reloads: kept while used, given back once, never shared."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scheduler.endpoint import EndpointTable

KEYS = st.sampled_from("abcdef")


def test_a_key_keeps_its_slot_and_its_count() -> None:
    table = EndpointTable()
    slot = table.slot("a", 1)
    table.in_flight[slot] = 3
    assert table.slot("a", 5) == slot
    assert (table.in_flight[slot], table.weight[slot]) == (3, 5)


def test_a_slot_in_use_outlives_its_key() -> None:
    table = EndpointTable()
    slot = table.slot("a", 1)
    table.in_flight[slot] = 1
    table.retain([])
    assert table.slot("b", 1) != slot, "an attempt still counts there"
    table.in_flight[slot] = 0
    table.retain(["b"])
    assert table.slot("c", 1) == slot, "a later reload gives it back"
    assert (table.in_flight[slot], table.turn[slot]) == (0, 0)


class Reloads(RuleBasedStateMachine):
    """Reloads and attempts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.table = EndpointTable()
        self.current: dict[str, int] = {}
        self.running: list[int] = []

    @rule(keys=st.sets(KEYS, max_size=6))
    def reload(self, keys: set[str]) -> None:
        before = dict(self.current)
        self.current = {key: self.table.slot(key, 1) for key in sorted(keys)}
        self.table.retain(keys)
        assert all(self.current[key] == before[key] for key in keys & before.keys())

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        if self.current:
            slot = data.draw(st.sampled_from(sorted(self.current.values())))
            self.table.in_flight[slot] += 1
            self.running.append(slot)

    @rule()
    def end(self) -> None:
        if self.running:
            self.table.in_flight[self.running.pop()] -= 1

    @invariant()
    def nothing_is_shared_or_lost(self) -> None:
        slots = list(self.current.values())
        assert len(set(slots)) == len(slots)
        assert sum(self.table.in_flight) == len(self.running)
        assert all(count >= 0 for count in self.table.in_flight)
        assert len(self.table.weight) <= 12, "freed slots are used again"


TestReloads = Reloads.TestCase
TestReloads.settings = settings(max_examples=50, stateful_step_count=30)
