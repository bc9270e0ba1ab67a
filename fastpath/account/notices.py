"""Alerts of one worker on their way to the outbox, where a kill no longer reaches them.

Owns what was told by this worker already, and what found no room yet: it is tried again with every tick. Does not own
when a budget crosses a threshold (`fastpath.limits.thresholds`), nor sending (the control plane). One event loop.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from fastpath.limits.thresholds import Crossing
from fastpath.outbox.facts import Alert, encode
from scheduler.clock import Clock

#: Alerts remembered, and alerts that wait: more than any node has budgets.
MOST_KEPT: Final = 16_384

_log = logging.getLogger("fastpath.budgets")
_Key = tuple[object, ...]


class Notices:
    """Tells each crossing once. `put` appends to the outbox; False: there is no room now."""

    def __init__(self, put: Callable[[bytes], bool], clock: Clock) -> None:
        self._put = put
        self._clock = clock
        self._told: set[_Key] = set()
        self._waiting: deque[bytes] = deque()

    def note(self, crossing: Crossing) -> None:
        """A budget crossed a threshold, or is found beyond it: what another worker may have told is told again."""
        key = (crossing.scope, crossing.owner, crossing.budget, crossing.kind, crossing.percent, crossing.period)
        if key in self._told:
            return
        if len(self._told) >= MOST_KEPT:
            self._told.clear()
        self._told.add(key)
        if len(self._waiting) >= MOST_KEPT:
            _log.error("an alert of budget %s is not sent: the outbox has had no room for long", crossing.budget)
            return
        self._waiting.append(encode(alert_of(crossing, self._clock.now())))
        self.flush()

    def flush(self) -> None:
        """Puts what waits."""
        while self._waiting and self._put(self._waiting[0]):
            self._waiting.popleft()


def alert_of(crossing: Crossing, now: float) -> Alert:
    """The fact of a crossing. now: Unix seconds."""
    return Alert(
        ts=now,
        tenant=crossing.account[0],
        scope=crossing.scope,
        owner=crossing.owner,
        budget=crossing.budget,
        kind=crossing.kind,
        currency=crossing.currency,
        percent=crossing.percent,
        action=crossing.action,
        spent=crossing.spent,
        whole=crossing.whole,
        span=crossing.span,
        days=crossing.days,
        period=crossing.period,
    )
