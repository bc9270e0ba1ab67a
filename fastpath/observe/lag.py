"""The worker's 100 ms tick: one timer for everything periodic, and the measure of how late the loop ran it.

Owns: the timer. Does not: decide what a sweep does. Concurrency: the given loop only; callbacks must be short, they
all run inside one tick.
"""

import asyncio
from collections.abc import Callable

from scheduler.clock import Clock


class Tick:
    """Runs callbacks every `interval` seconds and tells `observe` how many seconds late each round was.

    The lag is taken from `clock` and not from the loop: uvloop's own time is cached per iteration, in milliseconds.
    A round that was missed is skipped, never made up for.
    """

    __slots__ = ("_callbacks", "_clock", "_due", "_interval", "_loop", "_observe", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        observe: Callable[[float], None],
        interval: float = 0.1,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._observe = observe
        self._interval = interval
        self._callbacks: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def every(self, callback: Callable[[], None]) -> None:
        """Calls `callback` in every round from now on, in order of registration."""
        self._callbacks.append(callback)

    def start(self) -> None:
        """Begins to tick; the first round is one interval away."""
        if self._timer is None:
            self._schedule()

    def stop(self) -> None:
        """Ends the ticking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._due = self._clock.monotonic() + self._interval
        self._timer = self._loop.call_later(self._interval, self._run)

    def _run(self) -> None:
        self._observe(max(0.0, self._clock.monotonic() - self._due))
        self._schedule()
        for callback in self._callbacks:
            self._call(callback)

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # one sweep's bug must not stop the others: the loop's handler reports it
            self._loop.call_exception_handler({"message": "a tick callback failed", "exception": error})
