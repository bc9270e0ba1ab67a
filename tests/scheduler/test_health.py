"""Who is left out and who comes back: failures, slowness, rests, panic and slow start, over a clock of its own."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from fastpath.observe.metrics import private_arena
from scheduler.breaker import Change, Rules, SharedBreaker, State
from scheduler.clock import ManualClock
from scheduler.endpoint import EndpointTable
from scheduler.health import Blame, Health, Pace, Vitals, breaker_id

TICK = 0.1


@dataclass
class Place:
    """Whoever has vitals."""

    vitals: Vitals


@dataclass
class Ward:
    """So many endpoints of one model, as a worker sees them; several workers may share an arena."""

    count: int = 3
    pace: Pace = field(default_factory=lambda: Pace(slow_start=0.0))
    rules: Rules = field(default_factory=Rules)
    arena: Any = field(default_factory=private_arena)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.table = EndpointTable()
        self.changes: list[tuple[str, State]] = []
        self.slow: list[tuple[str, bool]] = []
        self.panics: list[str] = []
        self.health = Health(self.table, self._changed, self._slowed, self.panics.append)
        self.places = [Place(self._vitals(f"e{i}")) for i in range(self.count)]
        self.watch()

    def watch(self) -> None:
        self.health.watch([[place.vitals for place in self.places]], self.pace, self.now)

    def _vitals(self, name: str) -> Vitals:
        word = self.arena.word(breaker_id("m", name, "http://x", None))
        return Vitals(self.table.slot(name, 1), name, SharedBreaker(word, self.rules))

    def _changed(self, vitals: Vitals, change: Change) -> None:
        self.changes.append((vitals.name, change.after.state))

    def _slowed(self, vitals: Vitals, slow: bool) -> None:
        self.slow.append((vitals.name, slow))

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)
            self.health.look(self.now)

    def fail(self, place: int, times: int = 5, blame: Blame = Blame.FAULT, caller: str = "a") -> None:
        for _ in range(times):
            self.health.failed(self.places[place].vitals, blame, caller, self.now)

    def answer(self, place: int, waited: float = 0.1, caller: str = "a") -> None:
        vitals = self.places[place].vitals
        vitals.heard(waited, self.now, False)
        if vitals.wary:
            self.health.good(vitals, caller, self.now)

    def usable(self) -> list[str]:
        return [place.vitals.name for place in self.health.usable(self.places, self.now)]  # type: ignore[arg-type]

    def shares(self, requests: int = 1000) -> list[float]:
        """Of the traffic, when whoever is usable has the same part of it."""
        got = dict.fromkeys((place.vitals.name for place in self.places), 0.0)
        for _ in range(requests):
            found = self.usable()
            for name in found:
                got[name] += 1 / len(found) / requests
        return list(got.values())

    def serve(self, seconds: float, *waits: float) -> None:
        """Each tick every endpoint that is usable answers once, after so long."""
        for _ in range(round(seconds / TICK)):
            for name in self.usable():
                self.answer(int(name[1:]), waits[int(name[1:])])
            self.pass_time(TICK)


def test_nobody_is_asked_when_all_is_well() -> None:
    ward = Ward()
    ward.answer(0)
    ward.fail(1, times=4)
    ward.pass_time(1)
    assert not ward.health.troubled
    assert ward.usable() == ["e0", "e1", "e2"]


def test_five_failures_in_a_row_end_it_and_others_are_not_affected() -> None:
    ward = Ward()
    ward.fail(1)
    assert ward.health.troubled, "at once, not a tick later"
    assert ward.usable() == ["e0", "e2"]
    assert ward.changes == [("e1", State.OPEN)]


def test_a_callers_own_errors_change_nothing_while_others_are_served() -> None:
    """One caller sends what makes the server fail, again and again; the others are served."""
    ward = Ward()
    for _ in range(50):
        ward.fail(0, times=1, blame=Blame.ANSWER, caller="mallory")
        ward.answer(0, caller="alice")
    assert ward.usable() == ["e0", "e1", "e2"]
    ward.fail(0, times=20, blame=Blame.ANSWER, caller="mallory")
    assert ward.usable() == ["e0", "e1", "e2"]
    ward.fail(0, times=5, blame=Blame.FAULT, caller="mallory")
    assert ward.usable() == ["e1", "e2"], "that it cannot be reached is nobody's own error"


def test_errors_of_a_caller_that_is_alone_count_and_so_do_those_of_several() -> None:
    alone, several = Ward(), Ward()
    alone.fail(0, blame=Blame.ANSWER)
    for caller in "abcde":
        several.fail(0, times=1, blame=Blame.ANSWER, caller=caller)
    assert alone.usable() == several.usable() == ["e1", "e2"]


def test_what_is_no_fault_of_its_own_changes_nothing() -> None:
    ward = Ward()
    ward.fail(0, times=50, blame=Blame.NONE)
    assert ward.places[0].vitals.word == 0


def test_all_workers_of_a_node_leave_it_alone() -> None:
    one = Ward()
    two = Ward(arena=one.arena, clock=one.clock)
    one.fail(0)
    assert two.usable() == ["e0", "e1", "e2"]
    two.pass_time(TICK)
    assert two.usable() == ["e1", "e2"]
    assert two.health.troubled


def test_a_probe_that_was_not_sent_may_be_sent_by_another() -> None:
    one = Ward()
    two = Ward(arena=one.arena, clock=one.clock)
    one.fail(0)
    for ward in (one, two):
        ward.pass_time(1.0)
    vitals = one.places[0].vitals
    for _ in range(5):
        assert one.health.may_send(vitals, one.now)
        one.health.unsent(vitals, one.now)
    assert [ward.health.may_send(ward.places[0].vitals, one.now) for ward in (one, two, one)] == [True, True, False]
    one.health.unsent(vitals, one.now)  # it was chosen although it is out, and took none
    assert not two.health.may_send(two.places[0].vitals, one.now)
    well = one.places[1].vitals
    before = well.breaker.word
    assert one.health.may_send(well, one.now)
    one.health.unsent(well, one.now)
    assert well.breaker.word == before


def test_half_open_sends_so_many_probes_from_all_workers_together() -> None:
    one = Ward()
    two = Ward(arena=one.arena, clock=one.clock)
    one.fail(0)
    for ward in (one, two):
        ward.pass_time(1.0)
        assert ward.usable() == ["e0", "e1", "e2"], "it may be tried"
    vitals = [ward.places[0].vitals for ward in (one, two)]
    sent = [ward.health.may_send(ward.places[0].vitals, one.now) for ward in (one, two, one, two)]
    assert sent == [True, True, False, False]
    assert one.usable() == two.usable() == ["e1", "e2"]
    for ward in (one, two):
        ward.answer(0)
    one.pass_time(TICK)
    assert one.usable() == two.usable() == ["e0", "e1", "e2"]
    assert {one.state for one in vitals} == {State.CLOSED}


def test_panic_uses_all_of_them_and_is_counted() -> None:
    ward = Ward()
    for place in range(3):
        ward.fail(place)
    assert ward.usable() == ["e0", "e1", "e2"]
    assert len(ward.panics) == 1


def test_panic_may_begin_at_a_share() -> None:
    ward = Ward(pace=Pace(panic=0.5))
    ward.fail(0)
    assert ward.usable() == ["e1", "e2"]
    ward.fail(1)
    assert set(ward.usable()) == {"e0", "e1", "e2"}


def test_who_rests_is_left_alone_even_when_all_do() -> None:
    ward = Ward(2)
    for place, rest in enumerate((20.0, 5.0)):
        ward.health.failed(ward.places[place].vitals, Blame.BUSY, "a", ward.now, rest)
    assert ward.usable() == []
    assert ward.health.rests_for(ward.places, ward.now) == pytest.approx(5.0, abs=0.01)  # type: ignore[arg-type]
    ward.pass_time(5.1)
    assert ward.usable() == ["e1"]
    assert ward.panics == []


def test_one_that_failed_is_used_rather_than_one_that_asked_for_rest() -> None:
    ward = Ward(2)
    ward.fail(0)
    ward.health.failed(ward.places[1].vitals, Blame.BUSY, "a", ward.now, 20.0)
    assert ward.usable() == ["e0"]


def test_the_only_endpoint_is_never_out_for_failures() -> None:
    ward = Ward(1)
    ward.places[0].vitals.alone = True
    ward.fail(0, times=50)
    assert ward.usable() == ["e0"]
    assert ward.changes == []


def test_five_fold_slower_loses_most_of_its_traffic_within_ten_seconds_and_has_it_back_within_sixty() -> None:
    ward = Ward(pace=Pace())
    ward.serve(5, 0.1, 0.1, 0.1)
    assert ward.shares() == pytest.approx([1 / 3] * 3, abs=0.01)
    ward.serve(10, 0.5, 0.1, 0.1)
    assert ward.shares()[0] < 0.2 / 3
    assert ward.slow == [("e0", True)]
    ward.serve(60, 0.1, 0.1, 0.1)
    assert ward.shares() == pytest.approx([1 / 3] * 3, abs=0.01)
    assert ward.slow == [("e0", True), ("e0", False)]


def test_one_slow_answer_in_three_is_no_slow_endpoint() -> None:
    ward = Ward()
    for number in range(300):
        ward.serve(TICK, 5.0 if number % 3 == 0 else 0.1, 0.1, 0.1)
    assert ward.slow == []


def test_all_slow_together_is_nobodys_slowness() -> None:
    ward = Ward()
    ward.serve(5, 0.1, 0.1, 0.1)
    ward.serve(20, 0.5, 0.5, 0.5)
    ward.serve(5, 0.5, 0.5, 0.5)
    assert [slow for _, slow in ward.slow].count(True) <= 1
    assert ward.shares() == pytest.approx([1 / 3] * 3, abs=0.05)


def test_one_that_was_always_slower_is_as_it_is() -> None:
    ward = Ward()
    ward.serve(20, 0.4, 0.1, 0.1)
    assert ward.slow == []


def test_one_that_falls_silent_is_slow_at_once_and_out_soon() -> None:
    """Nothing is heard any more (SIGSTOP): requests wait, and each is noted while it waits."""
    ward = Ward()
    ward.serve(5, 0.1, 0.1, 0.1)
    silent = ward.places[0].vitals
    assert silent.is_overdue(0.5)
    for _ in range(7):
        ward.health.overdue(silent, ward.now)
    ward.pass_time(TICK)
    assert ward.shares()[0] < 0.2 / 3
    for _ in range(30):
        for place in (1, 2):
            ward.answer(place)
        ward.pass_time(TICK)
    assert ("e0", State.OPEN) in ward.changes


def test_a_slow_one_that_nobody_asks_any_more_comes_back_by_itself() -> None:
    ward = Ward()
    ward.serve(5, 0.1, 0.1, 0.1)
    ward.serve(5, 0.5, 0.1, 0.1)
    assert ward.shares()[0] < 0.1
    ward.pass_time(16)
    assert ward.shares() == pytest.approx([1 / 3] * 3, abs=0.01)


def test_slow_start_gives_its_share_back_little_by_little() -> None:
    ward = Ward(2, pace=Pace(slow_start=10.0))
    ward.fail(0)
    ward.pass_time(1.1)
    for _ in range(2):
        assert ward.health.may_send(ward.places[0].vitals, ward.now)
        ward.answer(0)
    seen = []
    for _ in range(5):
        ward.pass_time(2.5)
        seen.append(ward.shares()[0])
    assert seen == sorted(seen)
    assert seen[0] < 0.2
    assert seen[-1] == pytest.approx(0.5, abs=0.01)
    assert not ward.health.troubled


def test_the_table_shows_what_is_known() -> None:
    ward = Ward()
    ward.serve(3, 0.25, 0.1, 0.1)
    slot = ward.places[0].vitals.slot
    ward.fail(0)
    assert ward.table.out_until[slot] == pytest.approx(ward.now + 1.0, abs=0.01)


def test_an_endpoint_with_another_key_begins_anew() -> None:
    assert breaker_id("m", "e", "http://x", "bad") != breaker_id("m", "e", "http://x", "good")


def test_what_probes_say_counts_as_long_as_they_say_it() -> None:
    ward = Ward(pace=Pace(slow_start=10.0))
    slot, vitals = ward.places[0].vitals.slot, ward.places[0].vitals
    ward.table.out_until[slot] = ward.now + 5.0  # as `fastpath.route.facts` writes it
    ward.pass_time(0.1)
    assert ward.health.troubled
    assert ward.places[0] not in ward.health.usable(ward.places, ward.now)
    ward.table.out_until[slot], ward.table.ramp_from[slot] = 0.0, ward.now
    ward.pass_time(0.1)
    assert vitals.out_until == 0.0
    assert vitals.share < 1.0, "its share grows"
