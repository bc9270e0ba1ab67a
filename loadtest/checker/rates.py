"""J9: no tenant is admitted more often than its limit, in any stretch of time.

By the moments at which the books say that requests were admitted: in every stretch of t seconds at most a burst and t
times the rate, give or take the tolerance. Pure functions of the history.
"""

from collections.abc import Iterator
from typing import Final

from loadtest.checker.accounts import Bound
from loadtest.checker.history import History, Violation

RATE_TOLERANCE: Final = 0.02
LATE_S: Final = 0.2
"""Seconds between the moment that a record names and the one at which the limit is asked, on a busy machine."""


def check(history: History) -> list[Violation]:
    """The violations of J9: for each limit the worst stretch, when there is one."""
    books = history.accounts
    if books is None:
        return []
    found: list[Violation] = []
    for bound in books.bounds:
        moments = sorted(
            (one.admitted, one.request) for one in books.requests if one.tenant == bound.tenant and one.attempts
        )
        found += _worst(bound, moments)
    return found


def _worst(bound: Bound, moments: list[tuple[float, str]]) -> Iterator[Violation]:
    """A token bucket that never refuses: its deepest debt beyond the burst is the excess of the worst stretch."""
    rate = bound.per_second * (1 + RATE_TOLERANCE)
    allowed = bound.burst + 1 + bound.per_second * LATE_S
    level = worst = 0.0
    last, at = 0.0, ""
    for moment, request in moments:
        level = max(0.0, level - (moment - last) * rate) + 1
        last = moment
        if level > worst:
            worst, at = level, request
    if worst > allowed:
        reason = f"{worst:.1f} requests beyond {bound.per_second:g}/s, at most {allowed:.1f} may be"
        yield Violation(f"tenant {bound.tenant}, request {at}", reason)
