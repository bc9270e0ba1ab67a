"""Months and days of a time zone, as moments of UTC at which the ledger's quarters of an hour begin.

Owns the arithmetic. A month begins when it begins there, summer time included. Pure.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from controlplane.ledger.balances import Period
from controlplane.problem import invalid

_MONTH: Final = re.compile(r"(2[0-9]{3})-(0[1-9]|1[0-2])", re.ASCII)
_DAY: Final = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}", re.ASCII)


def month_of(text: str | None, zone: ZoneInfo, now: float) -> Period:
    """`YYYY-MM`; None: the month of `now` (Unix seconds) there. Raises a 400."""
    if text is None:
        today = datetime.fromtimestamp(now, zone)
        first = date(today.year, today.month, 1)
    else:
        found = _MONTH.fullmatch(text)
        if found is None:
            raise invalid("`month` is a month, such as 2026-11.", "month")
        first = date(int(found[1]), int(found[2]), 1)
    following = (first + timedelta(days=31)).replace(day=1)
    return Period(_begin(first, zone), _begin(following, zone))


def days_of(start: str, end: str, zone: ZoneInfo) -> Period:
    """From the day `start` to the day `end`, both included, as `YYYY-MM-DD`. Raises a 400."""
    first, last = _day(start, "start"), _day(end, "end")
    if first > last:
        raise invalid("`end` is a day before `start`.", "end")
    return Period(_begin(first, zone), _begin(last + timedelta(days=1), zone))


def day_of(micros: int, zone: ZoneInfo) -> str:
    """The day there of a moment, as `YYYY-MM-DD`."""
    return datetime.fromtimestamp(micros // 1_000_000, zone).date().isoformat()


def moment(micros: int) -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def _day(text: str, param: str) -> date:
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise invalid(f"`{param}` is a day, such as 2026-11-30.", param)


def _begin(day: date, zone: ZoneInfo) -> int:
    """The first moment of a day there. (Where 0 o'clock is skipped by summer time, the moment that takes its place.)"""
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1_000_000
