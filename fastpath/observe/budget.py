"""One memory budget per worker: bodies and relay buffers are counted in it. Single-threaded, on the worker's loop.

Owns: the count and the two marks at which new requests are refused. Does not: allocate or free anything.
"""

from typing import Final

LARGE: Final = 64 * 1024
LARGE_REFUSED_AT: Final = 0.8
ALL_REFUSED_AT: Final = 0.9


class MemoryBudget:
    """`limit` and `used` in bytes.

    Admission stops before the budget is full, so that requests already running can still buffer what they must.
    """

    def __init__(self, limit: int) -> None:
        if limit <= 0:
            raise ValueError(f"a memory budget needs bytes, not {limit}")
        self._limit = limit
        self._used = 0
        self._relayed = 0
        self._large_mark = int(limit * LARGE_REFUSED_AT)
        self._all_mark = int(limit * ALL_REFUSED_AT)

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def used(self) -> int:
        return self._used + self._relayed

    def note_relayed(self, total: int) -> None:
        """Bytes that all relays hold now. Sampled by the 100 ms tick, not counted per chunk: each stream's are
        bounded, and they only steer admission."""
        self._relayed = total

    def admits(self, size: int) -> bool:
        """Whether a new body of `size` bytes may come in: large ones up to 80 % of the limit, others up to 90 %."""
        mark = self._large_mark if size > LARGE else self._all_mark
        return self._used + self._relayed + size <= mark

    def reserve(self, n: int) -> bool:
        """Counts `n` bytes as used if they fit into the whole limit; says whether it did."""
        if self._used + self._relayed + n > self._limit:
            return False
        self._used += n
        return True

    def release(self, n: int) -> None:
        """Gives `n` reserved bytes back. Raises ValueError when more comes back than was reserved: a bug of ours."""
        if n > self._used:
            raise ValueError(f"released {n} bytes of {self._used} reserved")
        self._used -= n
