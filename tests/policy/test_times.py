"""Time windows on a clock that the test moves: past midnight, at both changes of clocks, and kept for a minute only."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from fastpath.policy.timetable import Timetable
from fastpath.settings import TimeWindow
from scheduler.clock import ManualClock

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    """Unix seconds of a time on clocks of a zone. fold 1: the second of two hours that read the same."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def is_open(window: TimeWindow, moment: float) -> bool:
    return Timetable([(window, 1)]).of(moment) == 1


NIGHT = TimeWindow(days=("fri",), start="22:00", end="06:00", time_zone=BERLIN)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-20 21:59:59", False),
        ("2026-11-20 22:00:00", True),
        ("2026-11-20 23:59:59", True),
        ("2026-11-21 00:00:00", True),
        ("2026-11-21 05:59:59", True),
        ("2026-11-21 06:00:00", False),
        ("2026-11-21 22:00:00", False),
        ("2026-11-20 05:00:00", False),
    ],
)
def test_a_night_belongs_to_the_day_it_begins_on(moment: str, expected: bool) -> None:
    assert is_open(NIGHT, at(moment)) is expected


def test_the_last_night_goes_on_after_its_date() -> None:
    window = TimeWindow(start="22:00", end="06:00", last_day="2026-12-31", time_zone=BERLIN)
    assert is_open(window, at("2027-01-01 05:59"))
    assert not is_open(window, at("2027-01-01 22:00"))


def test_an_hour_that_does_not_come_is_never_open() -> None:
    """On 2026-03-29 clocks in Berlin go from 01:59:59 to 03:00:00."""
    window = TimeWindow(start="02:00", end="03:00", time_zone=BERLIN)
    clock = ManualClock(at("2026-03-29 00:00"))
    seen = 0
    for _ in range(23 * 60):
        seen += is_open(window, clock.now())
        clock.advance(60)
    assert seen == 0
    around = TimeWindow(start="01:30", end="03:30", time_zone=BERLIN)
    clock = ManualClock(at("2026-03-29 01:00"))
    table = Timetable([(around, 1)])
    minutes = 0
    for _ in range(180):
        minutes += table.of(clock.now())
        clock.advance(60)
    assert minutes == 60, "two hours on the wall, one to live through"


def test_an_hour_that_comes_twice_is_open_twice() -> None:
    """On 2026-10-25 clocks in Berlin go from 02:59:59 back to 02:00:00."""
    window = TimeWindow(start="02:00", end="03:00", time_zone=BERLIN)
    assert at("2026-10-25 02:30", fold=1) - at("2026-10-25 02:30") == 3600
    clock, table, minutes = ManualClock(at("2026-10-25 00:00")), Timetable([(window, 1)]), 0
    for _ in range(25 * 60):
        minutes += table.of(clock.now())
        clock.advance(60)
    assert minutes == 120


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Chatham"])
def test_office_hours_keep_to_the_walls_of_their_zone_all_year(zone: str) -> None:
    window = TimeWindow(start="09:00", end="17:00", time_zone=zone)
    table = Timetable([(window, 1)])
    for month in range(1, 13):
        for hour, expected in (("08:59", 0), ("09:00", 1), ("16:59", 1), ("17:00", 0)):
            assert table.of(at(f"2026-{month:02}-15 {hour}", zone)) == expected


def test_zones_disagree_about_the_day() -> None:
    moment = at("2026-11-23 00:30", "UTC")
    assert is_open(TimeWindow(days=("mon",)), moment)
    assert is_open(TimeWindow(days=("sun",), time_zone="America/New_York"), moment)


def test_what_was_found_is_kept_for_its_minute_only() -> None:
    window = TimeWindow(start="09:00", end="17:00")
    table = Timetable([(window, 4)])
    clock = ManualClock(at("2026-11-23 08:59:59.9", "UTC"))
    assert table.of(clock.now()) == 0
    clock.advance(0.2)
    assert table.of(clock.now()) == 4
    assert table.of(clock.now() - 1) == 0, "a clock may be put back"


def test_until_midnight_in_any_spelling() -> None:
    for window in (
        TimeWindow(start="22:00"),
        TimeWindow(start="22:00", end="24:00"),
        TimeWindow(start="22:00", end="00:00"),
    ):
        assert [is_open(window, at(f"2026-11-23 {hour}", "UTC")) for hour in ("21:59", "23:59", "00:00")] == [
            False,
            True,
            False,
        ]
