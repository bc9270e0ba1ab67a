"""How much is booked at once and how long is waited: smaller and longer while the database refuses.

A batch that a slow database cannot write within its time limit would be refused for ever if it came back as large. Owns
both numbers. Pure, but for the random part of a pause.
"""

import random
from typing import Final

LEAST: Final = 50
_FIRST: Final = 0.1


class Pace:
    """most: facts of a batch. linger: seconds between looks when all is well; longest: when it is not."""

    def __init__(self, most: int, linger: float = 0.2, longest: float = 5.0) -> None:
        self._most = most
        self._linger = linger
        self._longest = longest
        self._failures = 0
        self.size = most

    def succeeded(self) -> None:
        """A batch of `size` was booked."""
        self._failures = 0
        self.size = min(self._most, self.size * 2)

    def failed(self) -> None:
        """One was refused."""
        self._failures += 1
        self.size = max(min(LEAST, self._most), self.size // 2)

    @property
    def pause(self) -> float:
        """Seconds to wait now. After failures up to `longest`, less a random part, so that nodes come apart."""
        if not self._failures:
            return self._linger
        wait = min(self._longest, _FIRST * 2.0 ** min(self._failures - 1, 16))
        return wait * random.uniform(0.5, 1.0)
