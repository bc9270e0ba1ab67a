"""The breaker: every cell of its table, its words, and what may never happen, against a model written for it alone."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from _native.arena import Arena
from fastpath.observe.metrics import private_arena
from scheduler.breaker import (
    FRESH,
    TABLE,
    Action,
    Breaker,
    Event,
    Rules,
    SharedBreaker,
    Signal,
    State,
    catch_up,
    step,
    unpack,
)

RULES = Rules()


class PlainWord:
    """A word that one thread has to itself."""

    def __init__(self) -> None:
        self.value = 0

    def compare_and_set(self, expected: int, value: int) -> bool:
        if self.value != expected:
            return False
        self.value = value
        return True


def shared(rules: Rules = RULES) -> SharedBreaker:
    return SharedBreaker(PlainWord(), rules)


def trip(breaker: SharedBreaker, now: float) -> None:
    for _ in range(breaker.rules.failures):
        breaker.tell(Signal.BAD, now)


def test_every_cell_is_there_and_leads_to_a_state() -> None:
    assert set(TABLE) == {(state, event) for state in State for event in Event}
    for (state, event), (after, action) in TABLE.items():
        assert isinstance(after, State), (state, event)
        assert isinstance(action, Action), (state, event)


@pytest.mark.parametrize(("state", "event"), list(TABLE), ids=lambda one: one.name)
def test_a_cell_does_what_it_says(state: State, event: Event) -> None:
    """The properties that a cell must have, by what it means, and not by what the table says."""
    after, action = TABLE[state, event]
    if event is Event.DUE:
        assert after is (State.CLOSED if state is State.CLOSED else State.HALF_OPEN), "time alone never readmits"
    elif event is Event.BUSY:
        assert (after is State.RESTING) is (state is not State.OPEN), "what failed is not well because it is busy"
    elif event in (Event.ASK, Event.FULL):
        assert after is state, "asking changes nobody's state"
        takes = {State.CLOSED: Action.NONE, State.HALF_OPEN: Action.TAKE if event is Event.ASK else Action.REFUSE}
        assert action is takes.get(state, Action.REFUSE)
    elif event is Event.UNSENT:
        assert (after, action) == (state, Action.GIVE_BACK if state is State.HALF_OPEN else Action.NONE)
    elif state in (State.OPEN, State.RESTING):
        assert (after, action) == (state, Action.NONE), "late answers say nothing of now"
    elif state is State.HALF_OPEN:
        ends = {Event.GOOD: State.HALF_OPEN, Event.PROVEN: State.CLOSED, Event.BAD: State.OPEN, Event.TRIP: State.OPEN}
        assert after is ends[event]
    else:
        assert after is (State.OPEN if event is Event.TRIP else State.CLOSED)


def test_five_of_ten_failures_open_it_and_four_do_not() -> None:
    breaker = shared()
    for _ in range(4):
        breaker.tell(Signal.BAD, 1.0)
        breaker.tell(Signal.GOOD, 1.0)
    assert breaker.read(1.0).state is State.CLOSED
    breaker.tell(Signal.GOOD, 1.0)
    breaker.tell(Signal.GOOD, 1.0)  # the first failure is forgotten
    breaker.tell(Signal.BAD, 1.0)
    assert breaker.read(1.0).state is State.CLOSED
    assert breaker.tell(Signal.BAD, 1.0).action is Action.EJECT
    assert breaker.read(1.0).state is State.OPEN


def test_it_is_out_for_longer_each_time_up_to_a_cap_and_for_short_again_when_it_was_well_for_long() -> None:
    breaker, now, lasted = shared(), 100.0, []
    trip(breaker, now)
    for _ in range(8):
        until = breaker.read(now).until
        lasted.append(round(until - now, 3))
        now = until
        assert breaker.tell(Signal.ASK, now).action is Action.TAKE
        breaker.tell(Signal.BAD, now)
    assert lasted == [1, 2, 4, 8, 16, 30, 30, 30]
    now = breaker.read(now).until
    for _ in range(RULES.probes):
        breaker.tell(Signal.GOOD, now)
    assert breaker.read(now).state is State.CLOSED
    now += RULES.forgiven_after
    trip(breaker, now)
    assert round(breaker.read(now).until - now, 3) == 1


def test_half_open_lets_so_many_probes_pass_and_no_more_and_closes_on_as_many_good_ones() -> None:
    breaker = shared(Rules(probes=3))
    trip(breaker, 0.0)
    now = breaker.read(0.0).until
    asked = [breaker.tell(Signal.ASK, now).action for _ in range(5)]
    assert asked == [Action.TAKE] * 3 + [Action.REFUSE] * 2
    for _ in range(2):
        breaker.tell(Signal.GOOD, now)
        assert breaker.read(now).state is State.HALF_OPEN
    assert breaker.tell(Signal.GOOD, now).action is Action.READMIT


def test_probes_that_never_end_do_not_keep_it_half_open_for_ever() -> None:
    breaker = shared()
    trip(breaker, 0.0)
    now = breaker.read(0.0).until
    for _ in range(RULES.probes):
        breaker.tell(Signal.ASK, now)
    assert breaker.tell(Signal.ASK, now + RULES.probe_within - 0.01).action is Action.REFUSE
    assert breaker.tell(Signal.ASK, now + RULES.probe_within).action is Action.TAKE


def test_a_rest_is_as_long_as_asked_for_up_to_a_cap() -> None:
    breaker = shared()
    breaker.tell(Signal.BUSY, 10.0, 20.0)
    assert breaker.read(10.0) == Breaker(State.RESTING, 0, 0, 30.0)
    breaker.tell(Signal.BUSY, 11.0, 3.0)
    assert breaker.read(11.0).until == 30.0, "a later and shorter wish does not shorten it"
    breaker.tell(Signal.BUSY, 11.0, 86_400.0)
    assert breaker.read(11.0).until == 11.0 + RULES.rest_most
    assert breaker.read(11.0 + RULES.rest_most).state is State.HALF_OPEN


@given(st.integers(0, 2**64 - 1), st.sampled_from(Signal), st.floats(0, 1e8))
def test_any_word_is_a_breaker_that_goes_on(word: int, signal: Signal, now: float) -> None:
    """The arena may be damaged: whatever a word says, its end comes, and what is made of it is a word again."""
    after, _ = step(unpack(word), signal, now, RULES, 5.0)
    assert unpack(after.pack()).state is after.state
    assert catch_up(after, now + RULES.longest + 1, RULES).state in (State.CLOSED, State.HALF_OPEN)


@given(
    st.sampled_from(State), st.integers(0, 15), st.integers(0, 1023), st.integers(0, 2**48 - 1).map(lambda ms: ms / 1e3)
)
def test_a_word_keeps_what_is_packed(state: State, level: int, tally: int, until: float) -> None:
    breaker = Breaker(state, level, tally, until)
    found = unpack(breaker.pack())
    assert found[:3] == breaker[:3]
    assert found.until == pytest.approx(until, abs=1e-3)


class BreakerMachine(RuleBasedStateMachine):
    """The breaker beside a model of it in plain lists and sets, over a clock that only goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = shared()
        self.now = 1.0
        self.state = "closed"
        self.outcomes: list[bool] = []
        self.until = float("inf")
        self.times = 0  # out in a row
        self.forgiven = float("inf")
        self.running = self.well = 0

    def _eject(self) -> None:
        self.until = self.now + min(30.0, 2.0**self.times)
        self.state, self.times, self.outcomes = "open", min(self.times + 1, 15), []

    def _pass_time(self) -> None:
        if self.state != "closed" and self.now >= self.until:
            self.state, self.running, self.well = "half_open", 0, 0
            self.until = self.now + RULES.probe_within
        if self.state == "closed" and self.now >= self.forgiven:
            self.times, self.forgiven = 0, float("inf")

    @rule(milliseconds=st.integers(1, 70_000))
    def wait(self, milliseconds: int) -> None:
        self.now = round(self.now + milliseconds / 1e3, 3)

    @rule()
    def fail(self) -> None:
        self._pass_time()
        change = self.breaker.tell(Signal.BAD, self.now)
        if self.state == "closed":
            self.outcomes = [*self.outcomes[-9:], False]
            if self.outcomes.count(False) >= RULES.failures:
                self._eject()
                assert change.action is Action.EJECT
        elif self.state == "half_open":
            self._eject()

    @rule()
    def succeed(self) -> None:
        self._pass_time()
        self.breaker.tell(Signal.GOOD, self.now)
        if self.state == "closed":
            self.outcomes = [*self.outcomes[-9:], True]
        elif self.state == "half_open":
            self.well, self.running = self.well + 1, max(0, self.running - 1)
            if self.well >= RULES.probes:
                self.state, self.until, self.outcomes = "closed", float("inf"), []
                self.forgiven = self.now + RULES.forgiven_after if self.times else float("inf")

    @rule()
    def ask(self) -> None:
        self._pass_time()
        taken = self.breaker.tell(Signal.ASK, self.now).action is not Action.REFUSE
        may = self.state == "closed" or (self.state == "half_open" and self.running < RULES.probes)
        assert taken == may
        if taken and self.state == "half_open":
            self.running += 1

    @rule()
    def ask_and_not_send(self) -> None:
        self._pass_time()
        before = self.breaker.read(self.now)
        if self.breaker.tell(Signal.ASK, self.now).action is Action.TAKE:
            self.breaker.tell(Signal.UNSENT, self.now)
        assert self.breaker.read(self.now) == before

    @precondition(lambda self: self.state != "open")
    @rule(seconds=st.integers(1, 100))
    def be_busy(self, seconds: int) -> None:
        self._pass_time()
        self.breaker.tell(Signal.BUSY, self.now, float(seconds))
        if self.state != "open":
            before = self.until if self.state == "resting" else 0.0
            self.until = max(self.now + min(float(seconds), RULES.rest_most), before)
            self.state, self.outcomes = "resting", []

    @invariant()
    def they_agree(self) -> None:
        self._pass_time()
        assert self.breaker.read(self.now).state.name.lower() == self.state

    @invariant()
    def every_exclusion_ends(self) -> None:
        found = self.breaker.read(self.now)
        if found.state is not State.CLOSED:
            assert self.now < found.until <= self.now + RULES.longest


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=40)


def test_workers_share_it_and_no_failure_is_lost() -> None:
    """Two handles of one word in an arena, from two threads: every outcome is counted once."""
    arena: Arena = private_arena()
    name = b"0123456789abcdef"
    rules = Rules(failures=10)
    handles = [SharedBreaker(arena.word(name), rules) for _ in range(2)]
    threads = [
        threading.Thread(target=lambda one=one: [one.tell(Signal.BAD, 1.0) for _ in range(4)]) for one in handles
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert handles[0].read(1.0).tally.bit_count() == 8
    trip(handles[0], 1.0)
    assert handles[1].read(1.0).state is State.OPEN


def test_a_swap_that_loses_looks_again() -> None:
    class Contended(PlainWord):
        losses = 3

        def compare_and_set(self, expected: int, value: int) -> bool:
            if self.losses:
                self.losses -= 1
                self.value = step(unpack(self.value), Signal.BAD, 1.0, RULES)[0].pack()
                return False
            return super().compare_and_set(expected, value)

    breaker = SharedBreaker(Contended(), RULES)
    breaker.tell(Signal.BAD, 1.0)
    assert breaker.read(1.0).tally.bit_count() == 4, "three of others and this one"


def test_a_new_one_is_closed() -> None:
    assert unpack(0) == FRESH
