"""The tick, on a loop that runs only when the test says so."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from fastpath.observe.lag import Tick
from scheduler.clock import ManualClock, SystemClock


class _Loop:
    """The two loop methods a tick uses."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.problems: list[dict[str, Any]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> "_Handle":
        self.timers.append((delay, callback))
        return _Handle(self, callback)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.problems.append(context)

    def run_next(self) -> None:
        self.timers.pop(0)[1]()


class _Handle:
    def __init__(self, loop: _Loop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback

    def cancel(self) -> None:
        self._loop.timers = [timer for timer in self._loop.timers if timer[1] != self._callback]


@pytest.fixture
def loop() -> _Loop:
    return _Loop()


def _tick(loop: Any, clock: ManualClock, lags: list[float]) -> Tick:
    return Tick(loop, clock, lags.append)


def test_lag_is_how_late_a_round_was(loop: _Loop) -> None:
    clock, lags = ManualClock(), []
    tick = _tick(loop, clock, lags)
    tick.start()
    clock.advance(0.1)
    loop.run_next()
    clock.advance(0.35)
    loop.run_next()
    assert lags == pytest.approx([0.0, 0.25])
    assert [delay for delay, _ in loop.timers] == [0.1]


def test_an_early_timer_is_no_lag(loop: _Loop) -> None:
    clock, lags = ManualClock(), []
    _tick(loop, clock, lags).start()
    clock.advance(0.0995)
    loop.run_next()
    assert lags == [0.0]


def test_callbacks_run_in_order_and_one_that_fails_stops_no_other(loop: _Loop) -> None:
    clock, calls = ManualClock(), []
    tick = _tick(loop, clock, [])

    def fail() -> None:
        calls.append("fails")
        raise LookupError("bug")

    tick.every(fail)
    tick.every(lambda: calls.append("works"))
    tick.start()
    loop.run_next()
    loop.run_next()
    assert calls == ["fails", "works"] * 2
    assert [type(problem["exception"]) for problem in loop.problems] == [LookupError] * 2


def test_stop_ends_it_even_from_inside_a_round(loop: _Loop) -> None:
    tick = _tick(loop, ManualClock(), [])
    tick.every(tick.stop)
    tick.start()
    tick.start()
    assert len(loop.timers) == 1
    loop.run_next()
    assert loop.timers == []


def test_a_blocked_loop_shows_on_uvloop() -> None:
    async def main() -> list[float]:
        clock, lags, done = SystemClock(), [], asyncio.Event()
        tick = Tick(asyncio.get_running_loop(), clock, lags.append, interval=0.02)
        tick.every(lambda: done.set() if len(lags) == 2 else _block(clock, 0.06))
        tick.start()
        await done.wait()
        tick.stop()
        return lags

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        lags = runner.run(main())
    assert lags[1] >= 0.03


def _block(clock: SystemClock, seconds: float) -> None:
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        pass
