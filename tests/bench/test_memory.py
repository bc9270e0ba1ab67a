"""Growth and slope as sums, and the goals on them."""

import pytest

from bench.memory.__main__ import Course, Figures, course_of, idle_counts, measurements, missed_goals, parse
from bench.memory.growth import Growth, Level, slope_between
from bench.memory.soak import Sample, Soak, slope_mb
from bench.memory.soaker import Counts

KIB = 1024


def sample(requests: int, rss_mb: float, descriptors: int = 30, in_flight: int = 0) -> Sample:
    return Sample(0.0, requests, rss_mb, descriptors, 5, in_flight)


def soaked(slope: float, after: Sample) -> Soak:
    return Soak("native", 1, Counts(), [], slope, sample(0, 80), after)


def grown(name: str, per_stream: float) -> Growth:
    return Growth(name, "idle", 1, [Level(1, 1)], per_stream)


def test_a_stream_costs_what_is_between_the_first_level_and_the_last() -> None:
    levels = [Level(1_000, 100 << 20), Level(2_000, 999 << 20), Level(5_000, (100 << 20) + 4_000 * 3_000)]
    assert slope_between(levels) == 3_000


def test_the_slope_leaves_the_warm_part_out() -> None:
    warm = [sample(n * 100, 10 + n * 10) for n in range(2)]
    steady = [sample(1_000 + n * 50_000, 80 + n * 0.25) for n in range(8)]
    assert slope_mb([*warm, *steady]) == pytest.approx(0.5)


def test_a_series_without_requests_has_no_slope() -> None:
    assert slope_mb([sample(5, 80), sample(5, 90)]) == 0


def test_goals_are_per_name_and_peers_have_none() -> None:
    good = Figures([grown("native", 8 * KIB), grown("haproxy", 99 * KIB)], [soaked(1.0, sample(9, 80, 32))])
    assert missed_goals(good) == []
    bad = Figures([grown("native", 8.1 * KIB), grown("native-tls", 65 * KIB)], [soaked(1.1, sample(9, 80, 33, 1))])
    assert missed_goals(bad) == [
        "idle, native: 8.1 KiB per stream, at most 8",
        "idle, native-tls: 65.0 KiB per stream, at most 64",
        "soak, native: 1.10 MiB per 100,000 requests, at most 1.0",
        "soak, native: 33 descriptors and 1 requests left, 30 and 0 before",
    ]


def test_peers_hold_no_more_streams_than_they_have_descriptors_for() -> None:
    assert idle_counts("native", 10_000) == [2_500, 5_000, 10_000]
    assert idle_counts("nginx-tls", 10_000) == [1_875, 3_750, 7_500]


def test_stalled_readers_are_measured_without_tls_and_peers_do_not_soak() -> None:
    found = measurements(Course())
    assert ("stalled", "native-tls") not in found
    assert ("idle", "native-tls") in found
    assert [name for part, name in found if part == "soak"] == ["native", "granian"]


def test_several_workers_are_measured_on_fastpath_alone() -> None:
    course = course_of(parse(["--streams", "10000", "--workers", "2", "--part", "idle"]))
    assert (course.streams, course.workers, course.parts) == (10_000, 2, ("idle",))
    assert course.names == ("native", "granian", "native-tls")
