"""Two functions timed turn by turn. Owns the timing; knows no kernel. One thread."""

import gc
import time
from collections.abc import Callable

import msgspec

Side = Callable[[], object]
TURN = 0.001
"""Seconds that one turn of one side lasts, at least: short, so that some fall between what neighbours do."""
TURNS = 25
REMATCHES = 7
"""Of a duel that stays below its floor. Every turn counts, so they only help where turns were disturbed."""


class Duel(msgspec.Struct, frozen=True):
    """Nanoseconds per call, the best of all turns: noise only ever adds."""

    native_ns: float
    twin_ns: float

    @property
    def factor(self) -> float:
        """How many times as fast as its twin the kernel is."""
        return self.twin_ns / self.native_ns


def duel_until(enough: float, native: Side, twin: Side) -> Duel:
    """The best turns of one duel, and of rematches while the factor is not `enough`."""
    found = duel(native, twin)
    for _ in range(REMATCHES):
        if found.factor >= enough:
            break
        again = duel(native, twin)
        found = Duel(min(found.native_ns, again.native_ns), min(found.twin_ns, again.twin_ns))
    return found


def duel(native: Side, twin: Side, turn: float = TURN, turns: int = TURNS) -> Duel:
    """Times both, in turns. The cycle collector rests meanwhile."""
    calls = count_calls(native, turn), count_calls(twin, turn)
    enabled = gc.isenabled()
    gc.disable()
    try:
        took = [(time_calls(native, calls[0]), time_calls(twin, calls[1])) for _ in range(turns)]
    finally:
        if enabled:
            gc.enable()
    return Duel(min(first for first, _ in took) * 1e9, min(second for _, second in took) * 1e9)


def count_calls(side: Side, turn: float) -> int:
    """Calls that fill a turn."""
    calls = 1
    while (spent := time_calls(side, calls) * calls) < turn:
        calls = max(calls * 2, int(calls * turn / max(spent, 1e-9)) + 1)
    return calls


def time_calls(side: Side, calls: int) -> float:
    """Seconds per call over some calls."""
    began = time.perf_counter()
    for _ in range(calls):
        side()
    return (time.perf_counter() - began) / calls
