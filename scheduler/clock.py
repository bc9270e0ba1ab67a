"""Time as a passed-in object, so that tests and the simulator own it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Source of time. `monotonic` orders events and never jumps; `now` is the wall clock. Both in seconds."""

    def monotonic(self) -> float: ...

    def now(self) -> float: ...


class SystemClock:
    """The machine's clocks. The functions themselves, because a request reads the time about ten times."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    now = staticmethod(time.time)


class ManualClock:
    """A clock that moves only when told to."""

    __slots__ = ("_monotonic", "_now")

    def __init__(self, now: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self._now = now
        self._monotonic = monotonic

    def monotonic(self) -> float:
        return self._monotonic

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves both clocks forward by `seconds`."""
        self._monotonic += seconds
        self._now += seconds
