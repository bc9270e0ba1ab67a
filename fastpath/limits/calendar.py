"""Which period of a budget a moment belongs to, in the tenant's time zone.

Owns the numbers of periods: a day's is its days since 1970, a month's that of its first day. Pure; the time zone
database is read when a Calendar is made.
"""

from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from fastpath.settings.tenancy import Period

_EPOCH = date(1970, 1, 1).toordinal()


class Span(NamedTuple):
    """A period: Unix seconds from `since` until before `until`, its number and that of the one before it."""

    since: float
    until: float
    number: int
    previous: int


class Calendar:
    """Periods of one length in one time zone. A rolling budget counts days; its window is the arena's business."""

    def __init__(self, period: Period, zone: str) -> None:
        """Raises ZoneInfoNotFoundError for a zone that this machine does not know."""
        self.period: Period = period
        self.zone = zone
        self._zone = ZoneInfo(zone)

        # How far ahead another worker's clock may be before its period is taken for damage. A clock that jumps by a
        # day at the end of a month opens a month that begins up to 31 days after ours.
        self.ahead = 62 if period == "month" else 2

    def at(self, now: float) -> Span:
        """The period of a moment in Unix seconds."""
        today = datetime.fromtimestamp(max(now, 2 * 86_400.0), self._zone).date()
        if self.period != "month":
            return self._span(today, today + timedelta(days=1), today - timedelta(days=1))
        first = today.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
        return self._span(first, following, max((first - timedelta(days=1)).replace(day=1), date(1970, 1, 1)))

    def renewal(self, now: float) -> str:
        """When the next period begins, for people."""
        after = datetime.fromtimestamp(self.at(now).until, self._zone)
        return f"{after:%Y-%m-%d %H:%M} ({self.zone})"

    def _span(self, first: date, following: date, previous: date) -> Span:
        number = first.toordinal() - _EPOCH
        return Span(self._midnight(first), self._midnight(following), number, previous.toordinal() - _EPOCH)

    def _midnight(self, day: date) -> float:
        return datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp()
