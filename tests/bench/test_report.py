"""The page's marks, the sections of records, and the pictures."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec import structs

from bench.e2e.__main__ import Figures as Race
from bench.e2e.ratios import Measurement, summarise
from bench.e2e.syscalls import Calls
from bench.e2e.units import GOALS, UNITS
from bench.memory.__main__ import Figures as Memory
from bench.memory.growth import Growth, Level
from bench.memory.soak import Sample, Soak
from bench.memory.soaker import Counts
from bench.money.__main__ import Figures as Money
from bench.money.backlog import Course
from bench.money.backlog import Look as CourseLook
from bench.money.house import Backlog
from bench.money.race import Round
from bench.overload.__main__ import Figures as Overload
from bench.overload.client import Phase
from bench.overload.firehose import Firehose, Waits
from bench.overload.saturation import Admitted, Look, Pressure, Saturation, missed_goals
from bench.record import Record, make_record, write
from bench.report.page import BEGIN, END, PageError, markdown_table, splice
from bench.scale.__main__ import Figures as Scale
from bench.scale.curves import Point
from bench.slo.__main__ import Figures as Slo
from bench.slo.client import Answered, Distribution
from bench.slo.levels import measure_level

pytest.importorskip("matplotlib")
from bench.report.__main__ import main
from bench.report.sections import section

SUITES = ("e2e", "slo", "memory", "scale", "overload", "money")


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert splice(page, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert splice(splice(page, "new"), "new") == splice(page, "new")


@pytest.mark.parametrize("page", ["", BEGIN, END, END + BEGIN, BEGIN * 2 + END])
def test_a_page_without_a_place_is_refused(page: str) -> None:
    with pytest.raises(PageError, match="once, in this order"):
        splice(page, "new")


def test_columns_stand_left_or_right() -> None:
    assert markdown_table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def saturation(p99: float = 2.0, waiting: int = 9, recovery: float | None = 1.0) -> Saturation:
    usual, empty = Admitted(Waits(9, 0.5, 1.0, 2.0), 0), Waits(9, 1, p99, p99)
    return Saturation("native", 1e4, 2e4, 99.0, usual, Admitted(empty, 3), [Look(0.1, waiting, 40)], recovery)


@pytest.fixture
def records(answered: Callable[..., Answered]) -> dict[str, Record]:
    """A small record of every suite."""
    cpu = {"haproxy": 10.0, "fastpath-native": 12.0, "sglang-router": 60.0}
    rounds = [[Measurement(name, "request", {"cpu_us": us, "rss_mb": 9.0}) for name, us in cpu.items()]] * 5
    race = Race(rounds, summarise(rounds, {n: u.anchor for n, u in UNITS.items()}), list(GOALS), Calls(9, {}, {}))
    level = measure_level("native", "request", "poisson", 0.5, 9e3, lambda name: answered(p99=0.4), 2)
    look = Sample(1.0, 10, 80.0, 30, 5, 0)
    growth = Growth("native", "idle", 1, [Level(10, 1 << 20), Level(20, 2 << 20)], 4096.0)
    memory = Memory([growth], [Soak("native", 2, Counts(), [look, look], 0.25, look, look)])
    points = [Point("keys", "native", x, 20.0, 1.5, 1.4, 1.6, 9e3, 80.0) for x in (1, 100)]
    points.append(Point("keys", "native", 1000, 0, 0, 0, 0, 0, 0, "nothing served"))
    waits = Waits(9, 0.5, 1.0, 2.0)
    overload = Overload([Firehose("native", waits, waits, 90.0)], [saturation()])
    behind = CourseLook(1.0, Backlog(1 << 20, 0, 2.5, 10, 9, 0, 0, ""))
    course = Course(5_000.0, 600.0, answered(p99=0.4), [behind], 3.0)
    money = Money([Round(20.0, 30.0, 90.0, 1_000, 1.0)] * 5, course, [])
    found = (race, Slo({}, [level]), memory, Scale(points), overload, money)
    return {
        suite: make_record(suite, {}, figures, ["a reason"], ["a goal"])
        for suite, figures in zip(SUITES, found, strict=True)
    }


@pytest.mark.parametrize(
    ("suite", "row"),
    [
        ("e2e", "| fastpath-native | 12.0 | 1.20 (1.20 to 1.20) | <= 1.2 | 9 |"),
        ("slo", "| request, poisson | 50% | 9,000 | haproxy | latency | 0.400 | 0.000 | 0.000 | 0.000 | void in 2 |"),
        ("memory", "| idle | native | 1 | 10 to 20 | 4.0 | <= 8 |"),
        ("scale", "| keys | native | 1,000 | void |  |"),
        ("overload", "| native | 10,000 | 2.00 | 1.00 | 3 | 9 | 1.00 |"),
        ("money", "| workers | 30.0 | 1.50 | <= 1.35 |"),
    ],
)
def test_a_section_has_its_figures_and_what_does_not_count(records: dict[str, Record], suite: str, row: str) -> None:
    text = section(records[suite], "picture.svg")
    assert row in text.splitlines()
    assert "](picture.svg)" in text
    assert text.endswith("- Goal missed: a goal.\n- **Void**: a reason.")


def test_the_page_gets_every_suite_and_its_picture(records: dict[str, Record], tmp_path: Path) -> None:
    for record in records.values():
        write(record, tmp_path / "results")
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    arguments = ["--results", str(tmp_path / "results"), "--page", str(page), "--pictures", str(tmp_path / "pictures")]
    assert main(arguments) == 0
    for suite in SUITES:
        picture = tmp_path / "pictures" / f"{suite}.svg"
        assert ElementTree.parse(picture).getroot().tag.endswith("svg")
        assert f"](pictures/{suite}.svg)" in page.read_text()
    before = {path: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert main(arguments) == 0
    assert before == {path: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}


def test_a_page_without_marks_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("mine\n")
    assert main(["--results", str(tmp_path), "--page", str(page)]) == 2
    assert BEGIN in capsys.readouterr().err
    assert page.read_text() == "mine\n"


def phase(ok: int = 950, refused: int = 500, refusal_p99: float = 4.0) -> Phase:
    """A second of it."""
    nothing = Distribution(0, 0, 0, 0, 0, 0, 0)
    turned_away = Distribution(refused, 1, 1, 1, refusal_p99, 9, 9)
    return Phase(1.0, ok + refused, 0, ok, refused, 0, 0, nothing, turned_away, nothing)


def test_what_an_overload_must_hold() -> None:
    assert missed_goals(saturation()) == []
    bad = phase(ok=940, refusal_p99=51)
    loads = [(1, bad, ""), (2, phase(), ""), (5, bad, ""), (9, bad, "too much for the client")]
    levels = [Pressure(times, seen, 99.0, void) for times, seen, void in loads]
    found = structs.replace(saturation(2.1, 0, None), peak=1e3, nearly=phase(refused=1), levels=levels)
    assert missed_goals(found) == [
        "native: the p99 of admitted requests is 2.1 times the unloaded one, at most 2",
        "native: 1 requests were refused at nine tenths of the peak",
        "native: recovered after None s, under 5",
        "native: 94% of the peak is served at 5 times it, at least 95 %",
        "native: refusals take 51 ms at 5 times the peak, at most 50",
    ]
