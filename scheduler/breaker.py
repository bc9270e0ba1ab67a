"""A breaker: when an endpoint is left alone, and how it comes back. Everything that changes its state is in this file.

    CLOSED --failures--> OPEN --in time--> HALF_OPEN --good ones--> CLOSED
      |                    ^                  |   ^
      |                    +-------bad--------+   |
      +--"come back later"--> RESTING --in time---+

A state is one 64-bit word, so that all processes of a node share it in the arena by compare-and-set. Whoever meets a
word whose time has come moves it on: every state but CLOSED has an end, and no process must be alive for it. Pure, but
for `SharedBreaker`, which owns nothing but the loop around the swap. Times: monotonic seconds, whole milliseconds.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import msgspec

from _native.arena import pack_breaker, unpack_breaker

#: Outcomes that a closed breaker remembers: bits of its tally.
WINDOW: Final = 10
MOST_LEVEL: Final = 15
_TALLY: Final = (1 << WINDOW) - 1
_HALF: Final = (1 << 5) - 1


class State(IntEnum):
    """What the word says. The numbers are part of the arena's layout."""

    CLOSED = 0  # it is used
    OPEN = 1  # it failed: nobody sends there, but when all are out
    HALF_OPEN = 2  # a few requests find out whether it is well again
    RESTING = 3  # it asked to be left alone: nobody sends there, whoever else is out


class Signal(StrEnum):
    """What happens to an endpoint."""

    GOOD = "good"  # it answered
    BAD = "bad"  # it failed
    BUSY = "busy"  # it said when to come back
    ASK = "ask"  # somebody would like to send there
    UNSENT = "unsent"  # and could not, after being let


class Event(StrEnum):
    """What that means to the breaker at this moment."""

    GOOD = "good"
    PROVEN = "proven"  # the good one that is enough
    BAD = "bad"
    TRIP = "trip"  # the bad one that is too many
    BUSY = "busy"
    ASK = "ask"
    FULL = "full"  # somebody would like to send while as many as may do
    UNSENT = "unsent"
    DUE = "due"  # the state's time is over


class Action(StrEnum):
    """What is done with the word beside its state."""

    NONE = "none"
    NOTE_GOOD = "note_good"
    NOTE_BAD = "note_bad"
    EJECT = "eject"  # out, for longer each time
    TRY = "try"  # probes may be sent, counted anew
    TAKE = "take"  # one of the probes
    GIVE_BACK = "give_back"  # it was never sent
    COUNT = "count"  # a probe went well
    READMIT = "readmit"
    REST = "rest"
    FORGIVE = "forgive"  # it was well for long: the next time out is short again
    REFUSE = "refuse"


_C, _O, _H, _R = State.CLOSED, State.OPEN, State.HALF_OPEN, State.RESTING
#: (state, event) -> (next state, action). Every pair is here.
TABLE: Final[Mapping[tuple[State, Event], tuple[State, Action]]] = MappingProxyType(
    {
        (_C, Event.GOOD): (_C, Action.NOTE_GOOD),
        (_C, Event.PROVEN): (_C, Action.NOTE_GOOD),
        (_C, Event.BAD): (_C, Action.NOTE_BAD),
        (_C, Event.TRIP): (_O, Action.EJECT),
        (_C, Event.BUSY): (_R, Action.REST),
        (_C, Event.ASK): (_C, Action.NONE),
        (_C, Event.FULL): (_C, Action.NONE),
        (_C, Event.UNSENT): (_C, Action.NONE),
        (_C, Event.DUE): (_C, Action.FORGIVE),
        # Answers to what was sent before it was out say nothing of now.
        (_O, Event.GOOD): (_O, Action.NONE),
        (_O, Event.PROVEN): (_O, Action.NONE),
        (_O, Event.BAD): (_O, Action.NONE),
        (_O, Event.TRIP): (_O, Action.NONE),
        (_O, Event.BUSY): (_O, Action.NONE),
        (_O, Event.ASK): (_O, Action.REFUSE),
        (_O, Event.FULL): (_O, Action.REFUSE),
        (_O, Event.UNSENT): (_O, Action.NONE),
        (_O, Event.DUE): (_H, Action.TRY),
        (_H, Event.GOOD): (_H, Action.COUNT),
        (_H, Event.PROVEN): (_C, Action.READMIT),
        (_H, Event.BAD): (_O, Action.EJECT),
        (_H, Event.TRIP): (_O, Action.EJECT),
        (_H, Event.BUSY): (_R, Action.REST),
        (_H, Event.ASK): (_H, Action.TAKE),
        (_H, Event.FULL): (_H, Action.REFUSE),
        (_H, Event.UNSENT): (_H, Action.GIVE_BACK),
        (_H, Event.DUE): (_H, Action.TRY),  # probes that never ended, with their process perhaps
        (_R, Event.GOOD): (_R, Action.NONE),
        (_R, Event.PROVEN): (_R, Action.NONE),
        (_R, Event.BAD): (_R, Action.NONE),
        (_R, Event.TRIP): (_R, Action.NONE),
        (_R, Event.BUSY): (_R, Action.REST),
        (_R, Event.ASK): (_R, Action.REFUSE),
        (_R, Event.FULL): (_R, Action.REFUSE),
        (_R, Event.UNSENT): (_R, Action.NONE),
        (_R, Event.DUE): (_H, Action.TRY),
    }
)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of a breaker. Seconds."""

    failures: int = 5  # among the last WINDOW outcomes
    out_first: float = 1.0
    out_most: float = 30.0
    probes: int = 2  # that may run at once, and that must go well
    probe_within: float = 10.0  # for probes to end, before others are sent
    forgiven_after: float = 60.0  # until being out is short again
    rest_most: float = 60.0

    @property
    def longest(self) -> float:
        """What no state outlasts, and a millisecond for rounding."""
        return max(self.out_most, self.probe_within, self.forgiven_after, self.rest_most) + 1e-3


class Breaker(NamedTuple):
    """A word, unpacked. level: how often it was out in a row; taken, good: probes; tally: bits, 1 a bad outcome."""

    state: State = State.CLOSED
    level: int = 0
    tally: int = 0  # of a CLOSED one; taken << 5 | good of a HALF_OPEN one
    until: float = 0.0  # when the state ends; 0: never

    @property
    def taken(self) -> int:
        return self.tally >> 5

    @property
    def good(self) -> int:
        return self.tally & _HALF

    def pack(self) -> int:
        return pack_breaker(self.state, self.level << WINDOW | self.tally, round(self.until * 1e3))


FRESH: Final = Breaker()


def unpack(word: int) -> Breaker:
    """The breaker in a word; any word is one."""
    state, count, until = unpack_breaker(word)
    return Breaker(State(state), count >> WINDOW, count & _TALLY, until / 1e3)


def step(breaker: Breaker, signal: Signal, now: float, rules: Rules, rest: float = 0.0) -> tuple[Breaker, Action]:
    """What becomes of it, and what was done last. rest: seconds that a BUSY one asked for."""
    breaker = catch_up(breaker, now, rules)
    return _apply(breaker, _meaning(breaker, signal, rules), now, rules, rest)


def catch_up(breaker: Breaker, now: float, rules: Rules) -> Breaker:
    """The same one, moved on where its time is over, or lies farther ahead than any of our making."""
    endless = breaker.state is State.CLOSED and not breaker.until
    if endless or now < breaker.until <= now + rules.longest:
        return breaker
    return _apply(breaker, Event.DUE, now, rules, 0.0)[0]


def _meaning(breaker: Breaker, signal: Signal, rules: Rules) -> Event:
    half = breaker.state is State.HALF_OPEN
    match signal:
        case Signal.GOOD:
            return Event.PROVEN if half and breaker.good + 1 >= rules.probes else Event.GOOD
        case Signal.BAD:
            bad = (breaker.tally << 1 & _TALLY | 1).bit_count()
            return Event.TRIP if breaker.state is State.CLOSED and bad >= rules.failures else Event.BAD
        case Signal.ASK:
            return Event.FULL if half and breaker.taken >= rules.probes else Event.ASK
        case Signal.BUSY:
            return Event.BUSY
        case Signal.UNSENT:
            return Event.UNSENT


def _apply(breaker: Breaker, event: Event, now: float, rules: Rules, rest: float) -> tuple[Breaker, Action]:
    state, action = TABLE[breaker.state, event]
    return _act(breaker, state, action, now, rules, rest), action


def _act(breaker: Breaker, state: State, action: Action, now: float, rules: Rules, rest: float) -> Breaker:
    level, tally = breaker.level, breaker.tally
    match action:
        case Action.NOTE_GOOD:
            return breaker._replace(tally=tally << 1 & _TALLY)
        case Action.NOTE_BAD:
            return breaker._replace(tally=tally << 1 & _TALLY | 1)
        case Action.EJECT:
            lasts = min(rules.out_most, rules.out_first * 2.0**level)
            return Breaker(state, min(level + 1, MOST_LEVEL), 0, now + lasts)
        case Action.TRY:
            return Breaker(state, level, 0, now + rules.probe_within)
        case Action.TAKE:
            return breaker._replace(tally=min(breaker.taken + 1, _HALF) << 5 | breaker.good)
        case Action.GIVE_BACK:
            return breaker._replace(tally=max(breaker.taken - 1, 0) << 5 | breaker.good)
        case Action.COUNT:
            return breaker._replace(tally=max(breaker.taken - 1, 0) << 5 | breaker.good + 1)
        case Action.READMIT:
            return Breaker(state, level, 0, now + rules.forgiven_after if level else 0.0)
        case Action.REST:
            until = max(now + min(rest, rules.rest_most), breaker.until if breaker.state is state else 0.0)
            return Breaker(state, level, 0, until)
        case Action.FORGIVE:
            return breaker._replace(level=0, until=0.0)
        case _:
            return breaker


class Word(Protocol):
    """64 bits that change whole: `_native.arena.Word`."""

    @property
    def value(self) -> int: ...
    def compare_and_set(self, expected: int, value: int) -> bool: ...


class Change(NamedTuple):
    """What a signal did: the state before and after, and the last action."""

    before: Breaker
    after: Breaker
    action: Action


class SharedBreaker:
    """The breaker of one endpoint, which all processes of the node share."""

    def __init__(self, word: Word, rules: Rules) -> None:
        self._word = word
        self.rules = rules

    @property
    def word(self) -> int:
        """The word as it is."""
        return self._word.value

    def read(self, now: float) -> Breaker:
        """Its state at this moment, whether or not somebody has moved the word on."""
        return catch_up(unpack(self._word.value), now, self.rules)

    def tell(self, signal: Signal, now: float, rest: float = 0.0) -> Change:
        """Takes a signal. Another process may be doing the same: whoever is late looks again."""
        while True:
            word = self._word.value
            before = unpack(word)
            after, action = step(before, signal, now, self.rules, rest)
            if after.pack() == word or self._word.compare_and_set(word, after.pack()):
                return Change(before, after, action)
