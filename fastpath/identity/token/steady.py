"""A wall clock that a sudden step does not carry away at once.

A clock set forward by an hour, by mistake or by a virtual machine that woke up, would refuse every token in use; set
back, every new one. Owns the reading that bridges such a step. A step that lasts is believed after `HOLD` seconds,
because then it is more likely the correction than the mistake. Slewing and small steps pass through. One event loop.
"""

from collections.abc import Callable

#: A difference that tokens' leeway absorbs, s.
SMALL = 5.0
#: How long a larger one must last to be believed, s.
HOLD = 600.0


class SteadyClock:
    """`now` in Unix seconds. monotonic: seconds that never jump; wall: Unix seconds that may."""

    __slots__ = ("_monotonic", "_offset", "_since", "_wall")

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._offset = wall() - monotonic()
        self._since: float | None = None

    @property
    def stepped(self) -> bool:
        """Whether the machine's clock differs just now, for the operator."""
        return self._since is not None

    def now(self) -> float:
        steady, wall = self._monotonic(), self._wall()
        if abs(wall - steady - self._offset) > SMALL:
            self._since = steady if self._since is None else self._since
            if steady - self._since < HOLD:
                return steady + self._offset
        self._offset, self._since = wall - steady, None
        return wall
