"""The health of one endpoint as its probes tell it: a small state machine, and when to ask next.

Everything that changes the state is in this file. Three bad answers in a row make it Failed and two good ones Running
again; refused credentials make it Failed at once, and a first good answer makes a new one Running at once. One that
failed again soon after it came back has to show twice as many good answers each time, so that a server that flaps
stays out. Time is injected; pure.
"""

from typing import Final

from _native.arena import pack_breaker
from backends.watch.plan import Probing
from backends.watch.probe import Verdict
from backends.watch.report import State

BAD_UNTIL_FAILED: Final = 3
GOOD_UNTIL_RUNNING: Final = 2
MOST_GOOD: Final = 16
SOON: Final = 60.0  # seconds after a return: one that fails within them flaps

SUSPECT_EVERY: Final = 0.5  # seconds between questions while the answer is in doubt
FAILED_EVERY: Final = 1.0  # while it is out, at first
FAILED_LONG: Final = 30.0  # seconds out, after which it is asked less often
MOST_FAILED_EVERY: Final = 5.0
SLACK: Final = 1.0


CODES: Final = {State.UNKNOWN: 0, State.RUNNING: 1, State.FAILED: 2}
MOST_COUNT: Final = (1 << 14) - 1


class Condition:
    """Of one endpoint. message: why its last answer was not good. Times are monotonic seconds."""

    def __init__(self, probing: Probing, now: float) -> None:
        self._probing = probing
        self.state = State.UNKNOWN
        self.message = ""
        self.since = now
        self.in_row = 0  # answers that speak against the state, one after the other
        self._until = 0.0
        self._relapses = 0
        self._came_back = False

    @property
    def needed(self) -> int:
        """Good answers in a row that bring it back."""
        return min(GOOD_UNTIL_RUNNING << self._relapses, MOST_GOOD)

    def note(self, verdict: Verdict, message: str, now: float) -> bool:
        """Takes one answer; says whether the state changed."""
        if verdict is not Verdict.GOOD:
            self.message = message
        if verdict is Verdict.SILENT:
            return False
        good = verdict is Verdict.GOOD
        changed = self._on_good(now) if good else self._on_bad(now, at_once=verdict is Verdict.REFUSED)
        lasts = 2 * self.next_in(now) + self._probing.timeout + SLACK
        self._until = now + lasts if self.state is State.FAILED else 0.0
        return changed

    def next_in(self, now: float) -> float:
        """Seconds until it is asked again, before jitter."""
        every = self._probing.interval
        if self.state is State.FAILED:
            return min(every, FAILED_EVERY if now - self.since < FAILED_LONG else MOST_FAILED_EVERY)
        return min(every, SUSPECT_EVERY) if self.in_row else every

    @property
    def word(self) -> int:
        """State, answers in a row, and until when (monotonic ms) nobody should send there: each probe that says
        something renews it, so that without one it ends by itself."""
        return pack_breaker(CODES[self.state], min(self.in_row, MOST_COUNT), int(self._until * 1000))

    def _on_good(self, now: float) -> bool:
        if self.state is State.RUNNING:
            self.in_row = 0
            return False
        self.in_row += 1
        if self.state is State.FAILED and self.in_row < self.needed:
            return False
        self.message = ""
        return self._become(State.RUNNING, now)

    def _on_bad(self, now: float, *, at_once: bool) -> bool:
        if self.state is State.FAILED:
            self.in_row = 0
            return False
        self.in_row += 1
        if self.in_row < BAD_UNTIL_FAILED and not at_once:
            return False
        soon = self.state is State.RUNNING and now - self.since < SOON
        self._relapses = self._relapses + 1 if soon and self._came_back else 0
        return self._become(State.FAILED, now)

    def _become(self, state: State, now: float) -> bool:
        self._came_back = self.state is State.FAILED
        self.state, self.since, self.in_row = state, now, 0
        return True
