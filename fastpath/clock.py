"""The clock, under the name that the rest of `fastpath` uses. It lives in `scheduler` because layers point right."""

from scheduler.clock import Clock, ManualClock, SystemClock

__all__ = ["Clock", "ManualClock", "SystemClock"]
