"""Slots of the pretended engine: so many requests run, the others wait in order of arrival.

Concurrency: one loop; `take` may be cancelled at any moment without losing a slot.
"""

import asyncio
from collections import deque


class Slots:
    """FIFO semaphore that can be counted. `count` 0 means unlimited."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._queue: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(not place.done() for place in self._queue)

    async def take(self) -> bool:
        """Waits for a slot and returns whether it had to; the caller gives the slot back with `give`."""
        if not self._count or self.running < self._count:
            self.running += 1
            return False
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give()
            raise
        return True

    def give(self) -> None:
        """Hands the slot to the first who waits, or frees it."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.running -= 1
