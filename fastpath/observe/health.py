"""What is told of endpoints that go and come back: counted, and said once in the log.

Owns the words. Does not decide anything. The worker's loop.
"""

import logging
from typing import TYPE_CHECKING, Final

from scheduler.breaker import Action, Change, State
from scheduler.health import Vitals

if TYPE_CHECKING:
    from fastpath.observe.metrics import Metrics

_log = logging.getLogger("fastpath.health")
_REASONS: Final = {Action.EJECT: "failures", Action.REST: "rest"}


class HealthNotes:
    """Counts what `scheduler.health.Health` tells."""

    def __init__(self, metrics: "Metrics") -> None:
        self._metrics = metrics

    def changed(self, vitals: Vitals, change: Change) -> None:
        """A breaker moved to another state."""
        state = change.after.state.name.lower()
        self._metrics.count("fastpath_breaker_transitions_total", (vitals.name, state))
        reason = _REASONS.get(change.action)
        if reason is not None:
            self._metrics.count("fastpath_ejections_total", (vitals.name, reason))
        if change.after.state is not State.HALF_OPEN:
            _log.warning("endpoint %s is %s", vitals.name, _say(change))

    def slowed(self, vitals: Vitals, slow: bool) -> None:
        """An endpoint became slow beside its peers, or is no longer."""
        if slow:
            self._metrics.count("fastpath_ejections_total", (vitals.name, "slow"))
        words = "slow beside its peers: most of its traffic goes to them" if slow else "no longer slow"
        _log.warning("endpoint %s is %s", vitals.name, words)

    def panicked(self, endpoint: str) -> None:
        """A request goes to one of several endpoints that are all out."""
        self._metrics.count("fastpath_panic_total", ())


def _say(change: Change) -> str:
    match change.after.state:
        case State.OPEN:
            return "out: it failed too often"
        case State.RESTING:
            return "left alone: it said when to come back"
        case _:
            return "well again"
