"""Time as a passed-in object, so that tests and the simulator own it."""

from _native.clock import Clock, SystemClock

__all__ = ["Clock", "ManualClock", "SystemClock"]


class ManualClock(Clock):
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
