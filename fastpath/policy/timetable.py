"""From a moment to the rules whose time windows are open.

Owns the arithmetic of windows on clocks on the wall: what was asked is the time that they show, so a window keeps to
them when they are put forward or back. Windows open and close at whole minutes; what was found is kept for the minute.
One loop, no locking. The time zone database is read when a Timetable is made.
"""

from collections.abc import Iterable
from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec

from fastpath.settings import TimeWindow
from fastpath.settings.policies import DAYS

_DAY = 24 * 60
_LAST = date.max.toordinal()


class Shown(msgspec.Struct, frozen=True):
    """What a calendar and a clock on the wall show: days since the year 1, minutes since midnight."""

    day: int
    minute: int


class Opening(msgspec.Struct, frozen=True):
    """A window: weekdays from Monday on, minutes of the day, days since the year 1."""

    days: frozenset[int]
    start: int
    end: int
    first: int
    last: int

    def is_open(self, shown: Shown) -> bool:
        """Whether the window is open then."""
        if self.start < self.end:
            return self.start <= shown.minute < self.end and self._begins_on(shown.day)
        today = shown.minute >= self.start and self._begins_on(shown.day)
        return today or (shown.minute < self.end and self._begins_on(shown.day - 1))

    def _begins_on(self, day: int) -> bool:
        return self.first <= day <= self.last and (day - 1) % 7 in self.days  # the year 1 began on a Monday


class Timetable:
    """Finds rules by moment. windows: (window, rules)."""

    def __init__(self, windows: Iterable[tuple[TimeWindow, int]]) -> None:
        zones: dict[str, dict[Opening, int]] = {}
        for window, rules in windows:
            openings = zones.setdefault(window.time_zone, {})
            opening = opening_of(window)
            openings[opening] = openings.get(opening, 0) | rules
        self._zones = [(ZoneInfo(name), tuple(openings.items())) for name, openings in zones.items()]
        self._minute = -1
        self._found = 0

    def of(self, at: float) -> int:
        """The rules with a window that is open at a moment, in Unix seconds."""
        minute = int(at // 60)
        if minute != self._minute:
            self._found = self._find(minute)
            self._minute = minute
        return self._found

    def _find(self, minute: int) -> int:
        found = 0
        for zone, openings in self._zones:
            shown = shown_at(minute * 60.0, zone)
            for opening, rules in openings:
                if opening.is_open(shown):
                    found |= rules
        return found


def shown_at(at: float, zone: ZoneInfo) -> Shown:
    """What calendars and clocks of a zone show at a moment."""
    there = datetime.fromtimestamp(at, zone)
    return Shown(there.toordinal(), there.hour * 60 + there.minute)


def opening_of(window: TimeWindow) -> Opening:
    """A window in numbers."""
    days = frozenset(DAYS.index(day) for day in window.days or DAYS)
    start = _minutes(window.start) if window.start is not None else 0
    end = _minutes(window.end) if window.end is not None else _DAY
    first = date.fromisoformat(window.first_day).toordinal() if window.first_day is not None else 0
    last = date.fromisoformat(window.last_day).toordinal() if window.last_day is not None else _LAST
    return Opening(days, start, end, first, last)


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
