"""The accounting states of a request, as a table: everything that changes a state is in this file.

A request is admitted, reserved (its Intent is on disk), dispatched (a Mark shows that its provider works), and then
settled or voided, once. Facts come at least once and in any order, so every event has an answer in every state. Pure.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class State(IntEnum):
    """As stored."""

    ADMITTED = 0  # nothing is known of it here: no row
    RESERVED = 1  # an attempt was about to be sent
    DISPATCHED = 2  # an attempt runs
    WAITING = 3  # over, but an Intent that names a price is still on its way
    ESTIMATED = 4  # settled from its last Mark; its End may yet come
    SETTLED = 5
    VOIDED = 6  # over, and nobody asked money for it


class Event(IntEnum):
    """What a fact means for its request."""

    INTENT = 1
    MARK = 2
    END = 3  # over, something to bill, every Intent at hand
    VOID = 4  # over, nothing to bill
    EARLY = 5  # over, an Intent missing
    ABANDON = 6  # its worker is dead and will write no End


class Effect(IntEnum):
    """What to do about it."""

    NONE = 0  # told again, or too late to matter
    HOLD = 1  # keep the attempt's price and the reservation
    NOTE = 2  # keep how far the attempt is
    POST = 3  # post cost and charge; the reservation is released
    RELEASE = 4  # release the reservation
    PARK = 5  # keep the End
    ESTIMATE = 6  # post cost and charge from what is known, flagged; the reservation is released
    CORRECT = 7  # post the difference between the estimate and the truth


#: States in which money is set aside.
OPEN: Final = frozenset({State.RESERVED, State.DISPATCHED, State.WAITING})

#: States that nothing leaves.
FINAL: Final = frozenset({State.SETTLED, State.VOIDED})

_S, _E, _F = State, Event, Effect

TABLE: Final[Mapping[tuple[int, Event], tuple[State, Effect]]] = MappingProxyType(
    {
        (_S.ADMITTED, _E.INTENT): (_S.RESERVED, _F.HOLD),
        (_S.ADMITTED, _E.MARK): (_S.DISPATCHED, _F.NOTE),  # its Intent comes later
        (_S.ADMITTED, _E.END): (_S.SETTLED, _F.POST),
        (_S.ADMITTED, _E.VOID): (_S.VOIDED, _F.RELEASE),  # refused before its first attempt
        (_S.ADMITTED, _E.EARLY): (_S.WAITING, _F.PARK),
        (_S.ADMITTED, _E.ABANDON): (_S.ADMITTED, _F.NONE),
        #
        (_S.RESERVED, _E.INTENT): (_S.RESERVED, _F.HOLD),  # the next attempt
        (_S.RESERVED, _E.MARK): (_S.DISPATCHED, _F.NOTE),
        (_S.RESERVED, _E.END): (_S.SETTLED, _F.POST),
        (_S.RESERVED, _E.VOID): (_S.VOIDED, _F.RELEASE),
        (_S.RESERVED, _E.EARLY): (_S.WAITING, _F.PARK),
        (_S.RESERVED, _E.ABANDON): (_S.ESTIMATED, _F.ESTIMATE),
        #
        (_S.DISPATCHED, _E.INTENT): (_S.DISPATCHED, _F.HOLD),
        (_S.DISPATCHED, _E.MARK): (_S.DISPATCHED, _F.NOTE),
        (_S.DISPATCHED, _E.END): (_S.SETTLED, _F.POST),
        (_S.DISPATCHED, _E.VOID): (_S.VOIDED, _F.RELEASE),
        (_S.DISPATCHED, _E.EARLY): (_S.WAITING, _F.PARK),
        (_S.DISPATCHED, _E.ABANDON): (_S.ESTIMATED, _F.ESTIMATE),
        #
        (_S.WAITING, _E.INTENT): (_S.WAITING, _F.HOLD),  # and then its End is judged again
        (_S.WAITING, _E.MARK): (_S.WAITING, _F.NONE),
        (_S.WAITING, _E.END): (_S.SETTLED, _F.POST),
        (_S.WAITING, _E.VOID): (_S.WAITING, _F.NONE),  # the first End is the one that counts
        (_S.WAITING, _E.EARLY): (_S.WAITING, _F.NONE),
        (_S.WAITING, _E.ABANDON): (_S.ESTIMATED, _F.ESTIMATE),
        #
        (_S.ESTIMATED, _E.INTENT): (_S.ESTIMATED, _F.HOLD),  # an End that waits for it may follow
        (_S.ESTIMATED, _E.MARK): (_S.ESTIMATED, _F.NONE),
        (_S.ESTIMATED, _E.END): (_S.SETTLED, _F.CORRECT),
        (_S.ESTIMATED, _E.VOID): (_S.SETTLED, _F.CORRECT),
        (_S.ESTIMATED, _E.EARLY): (_S.ESTIMATED, _F.PARK),
        (_S.ESTIMATED, _E.ABANDON): (_S.ESTIMATED, _F.NONE),
        #
        **{(state, event): (state, _F.NONE) for state in (_S.SETTLED, _S.VOIDED) for event in _E},
    }
)


def step(state: int, event: Event) -> tuple[State, Effect]:
    """The state that follows, and what to do. state: a State, as it was read."""
    return TABLE[state, event]
