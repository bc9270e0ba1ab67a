"""Time as a passed-in object, so that tests and the simulator own it; compiled, for a request reads it a dozen times.

Any thread may ask.
"""

class Clock:
    """Source of time, for subclasses to give. Both in seconds."""

    def monotonic(self) -> float:
        """Orders events and never jumps; the same as `time.monotonic`, in every process of the machine."""

    def now(self) -> float:
        """The wall clock: Unix seconds, as `time.time`."""

class SystemClock(Clock):
    """The machine's clocks."""
