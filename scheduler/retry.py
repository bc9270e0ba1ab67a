"""How much may be tried again: a budget over the last ten seconds, and back-off with jitter."""

from collections.abc import Callable

from _native.clock import Clock

WINDOW = 10


class RetryBudget:
    """Allows retries up to `ratio` of the last 10 s of requests plus `minimum`, so that trouble is not multiplied."""

    def __init__(self, ratio: float, minimum: int, clock: Clock) -> None:
        self._ratio = ratio
        self._minimum = minimum
        self._clock = clock
        self._requests = [0] * WINDOW
        self._retries = [0] * WINDOW
        self._second = int(clock.monotonic())

    def request(self) -> None:
        """Counts a request."""
        self._advance()
        self._requests[self._second % WINDOW] += 1

    def spend(self) -> bool:
        """Whether one more retry is allowed now; counts it when it is."""
        self._advance()
        if sum(self._retries) + 1 > self._ratio * sum(self._requests) + self._minimum:
            return False
        self._retries[self._second % WINDOW] += 1
        return True

    def _advance(self) -> None:
        now = int(self._clock.monotonic())
        if now <= self._second:
            return
        for second in range(max(self._second + 1, now - WINDOW + 1), now + 1):
            self._requests[second % WINDOW] = 0
            self._retries[second % WINDOW] = 0
        self._second = now


def backoff(attempt: int, base: float, ceiling: float, random: Callable[[], float]) -> float:
    """Seconds to wait before retry number `attempt` (from 0): full jitter over a doubling interval."""
    return min(ceiling, base * float(2**attempt)) * random()
