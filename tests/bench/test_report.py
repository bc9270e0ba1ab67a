"""The arithmetic of the race and its rules for what is void; the race itself needs a quiet machine."""

import io

import pytest
from rich.console import Console

from bench.race.books import Books, judge
from bench.race.per_chunk import Tally, check
from bench.race.per_request import Void, served
from bench.report import GOALS, Measurement, Report, missed_goals, show, summarise

Figures = dict[str, float | str]

WRK = """\
Running 6s test @ http://127.0.0.1:1/
  Latency Distribution
     50%    1.00ms
     99%    3.00ms
  120000 requests in 6.00s, 80.00MB read
"""


def figures(cpu_us: float) -> Figures:
    return {"cpu_us": cpu_us, "rss_mb": 10.0}


def measured(**cpu_us: float) -> list[Measurement]:
    return [Measurement(name, "request", figures(cpu)) for name, cpu in cpu_us.items()]


def test_each_figure_is_divided_by_the_anchor_of_its_own_round() -> None:
    # The machine got twice as slow in the second round: the ratio did not.
    rows = summarise([measured(haproxy=20, fastpath=50), measured(haproxy=40, fastpath=100)])
    fastpath = next(row for row in rows if row.name == "fastpath")
    assert (fastpath.median, fastpath.lowest, fastpath.highest, fastpath.rounds) == (2.5, 2.5, 2.5, 2)


def test_the_median_and_the_spread_are_over_rounds() -> None:
    rows = summarise([measured(haproxy=10, fastpath=cpu) for cpu in (20, 50, 30)])
    fastpath = rows[-1]
    assert (fastpath.name, fastpath.median, fastpath.lowest, fastpath.highest) == ("fastpath", 3.0, 2.0, 5.0)


def test_a_round_without_its_anchor_does_not_count() -> None:
    lost = [Measurement("haproxy", "request", {}, "ended"), Measurement("fastpath", "request", figures(50))]
    rows = summarise([lost, measured(haproxy=10, fastpath=20)])
    assert [(row.name, row.rounds) for row in rows] == [("haproxy", 1), ("fastpath", 1)]


def test_a_missed_goal_is_named() -> None:
    limit = GOALS["request"]
    assert missed_goals(summarise([measured(haproxy=10, fastpath=limit * 10)])) == []
    assert missed_goals(summarise([measured(haproxy=10, fastpath=limit * 10 + 1)])) == ["request"]


@pytest.mark.parametrize(
    ("lines", "requests", "why"),
    [
        (100, 100, None),
        (110, 110, None),  # the load stopped in the middle of ten
        (99, 100, "99 log lines for 100"),
        (99, 99, "99 counted requests for 100 served"),
        (111, 111, "at most 10 cut off"),
    ],
)
def test_books_must_equal_what_was_served(lines: int, requests: int, why: str | None) -> None:
    found = judge(Books(7, 7), Books(7 + lines, 7 + requests), served=100, cut=10)
    assert (found is None) if why is None else (why in str(found))


def test_wrk_says_how_many_were_answered() -> None:
    assert served(WRK) == 120000


@pytest.mark.parametrize("line", ["  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 1\n"])
def test_anything_but_2xx_makes_it_void(line: str) -> None:
    with pytest.raises(Void):
        served(WRK + line)


def test_nothing_served_is_void() -> None:
    with pytest.raises(Void, match="nothing served"):
        served("  0 requests in 6.00s\n")


@pytest.mark.parametrize(
    ("reads", "lost", "bad", "ended"), [(94, 0, 0, set()), (100, 1, 0, set()), (100, 0, 1, set()), (100, 0, 0, {7})]
)
def test_merged_chunks_lost_streams_and_ended_processes_are_void(
    reads: int, lost: int, bad: int, ended: set[int]
) -> None:
    tally = Tally()
    tally.chunks, tally.reads = 100, 95
    check(tally, set())
    tally.reads, tally.lost, tally.bad = reads, lost, bad
    with pytest.raises(Void):
        check(tally, ended)


def test_the_table_shows_the_verdict() -> None:
    rounds = [measured(haproxy=10, fastpath=40)]
    report = Report(
        date="now",
        machine={},
        versions={},
        method={},
        rounds=rounds,
        summary=summarise(rounds),
        void=["too few [rounds]"],
        goals=GOALS,
    )
    out = io.StringIO()
    show(report, Console(file=out, width=120))
    assert "4.00" in out.getvalue()
    assert "goal missed: request <= 3.0 x haproxy" in out.getvalue()
    assert "VOID: too few [rounds]" in out.getvalue()
