"""What a picker may know of the request that it places. Pure data."""

from collections.abc import Callable


def undrawn() -> float:
    """The draw of a request that nobody draws for."""
    raise RuntimeError("this picker draws lots: give its Ask a source of random numbers")


class Ask:
    """One attempt to be placed. tokens: of its prompt, those that no cache is known to hold. now: monotonic seconds.
    key: 64 bits of who asks, for hashing. draw: uniform in [0, 1)."""

    def __init__(self, tokens: int = 0, now: float = 0.0, key: int = 0, draw: Callable[[], float] = undrawn) -> None:
        self.tokens = tokens
        self.now = now
        self.key = key
        self.draw = draw
