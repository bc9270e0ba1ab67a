"""Time that passes when a test says so, in a gateway that runs."""

from scheduler.clock import SystemClock


class ShiftedClock(SystemClock):
    """The machine's clocks, which a test can set forward."""

    def __init__(self) -> None:
        self.passed = 0.0  # of both
        self.stepped = 0.0  # of the wall clock alone

    def monotonic(self) -> float:
        return super().monotonic() + self.passed

    def now(self) -> float:
        return super().now() + self.passed + self.stepped
