"""The gates: their arithmetic, when they are void, and that a planted slowdown is stopped."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from bench.e2e.ratios import Measurement
from bench.e2e.units import GOALS, NATIVE
from bench.gates import callgrind, instructions, limits, ratios
from bench.gates.build import Build, this_build
from bench.gates.callgrind import Count, Plan, by_object, count_all, is_ours
from bench.gates.instructions import Recorded, compare, judge, keep, nearest
from bench.gates.limits import Limit, Try, conclude, judge_try, make_limit
from bench.gates.plant import SlowPrograms
from bench.micro.duel import Duel, count_calls, duel, duel_until
from bench.micro.floors import FACTORS, KEEP, floor
from bench.stage.programs import HOME, BenchError, Programs, program_path

BUILD = Build(python="3.11.7 (main, one day) [GCC 12.2.0]", gcc="12.2.0", libc="2.36", cpu="x86_64 avx2")
RECORDED = Recorded(BUILD, Count(1000.0, 400.0), Count(100.0, 40.0))
CALLGRIND = """\
# callgrind format
positions: line
events: Ir
summary: 60

ob=(1) {home}/_native/door.so
fl=(1) door.c
fn=(1) begin
16 10
+3 5
cob=(2) /usr/lib/libpython.so
cfi=(2) object.c
cfn=(2) call
calls=2 112
* 4000
- 7
ob=(2)
fn=(2)
12 30
calls=1 16
12 4000
ob=(3) {home}/.venv/lib/site-packages/msgspec/_core.so
fn=(3) encode
* 8

totals: 60
"""


def measured(anchor: float, ours: float, void: str | None = None) -> list[Measurement]:
    figures = [{"cpu_us": cpu, "rss_mb": 1.0} for cpu in (anchor, ours)]
    return [Measurement("haproxy", "request", figures[0]), Measurement(NATIVE, "request", figures[1], void)]


def tried(*pairs: list[Measurement], steal: float = 0.0) -> Try:
    return judge_try(pairs, "request", "haproxy", steal)


HELD, OVER = tried(measured(10, 10)), tried(measured(10, 20))
NOISE, SPOILT = tried(measured(10, 10), measured(15, 15)), tried(measured(10, 10, "lines lost"))


# -- instructions


def test_instructions_are_summed_by_object_without_those_of_callees() -> None:
    found = by_object(CALLGRIND.format(home=HOME).splitlines(keepends=True))
    assert list(found.values()) == [22, 30, 8]
    assert [is_ours(name) for name in found] == [True, False, True]


def test_other_packages_in_an_environment_inside_the_tree_are_not_ours() -> None:
    assert not is_ours(f"{HOME}/.venv/lib/python3.11/site-packages/uvloop/loop.so")


@pytest.mark.parametrize(
    ("found", "status"), [((1000, 400), 0), ((1029, 411), 0), ((1031, 400), 1), ((1000, 413), 1), ((500, 100), 0)]
)
def test_three_percent_more_of_either_count_fails(found: tuple[float, float], status: int) -> None:
    assert judge({"requests": Count(*found), "streams": Count(100, 40)}, RECORDED, BUILD) == status


def test_each_build_has_its_entry() -> None:
    debian = Recorded(
        msgspec.structs.replace(BUILD, python="3.11.2 (Debian)"), Count(1100.0, 420.0), Count(110.0, 42.0)
    )
    entries = keep([RECORDED], debian)
    assert entries == [RECORDED, debian]
    assert [nearest(entries, one.build) for one in entries] == entries
    assert nearest([debian], BUILD) == debian
    newer = msgspec.structs.replace(debian, requests=Count(1.0, 1.0))
    assert keep(entries, newer) == [RECORDED, newer]


def test_every_mode_is_judged() -> None:
    assert judge({"requests": Count(1000, 400), "streams": Count(100, 42)}, RECORDED, BUILD) == 1


def test_with_another_build_of_python_our_objects_alone_are_judged(capsys: pytest.CaptureFixture[str]) -> None:
    other = msgspec.structs.replace(BUILD, python="3.11.9 (main, another day) [GCC 12.2.0]")
    counts = {"requests": Count(2000, 400), "streams": Count(200, 40)}
    assert judge(counts, RECORDED, other) == 0
    assert "only our own objects" in capsys.readouterr().out
    assert judge(counts | {"requests": Count(1000, 500)}, RECORDED, other) == 1


@pytest.mark.parametrize("change", [{"python": "3.12.1 (main, one day) [GCC 12.2.0]"}, {"gcc": "13.1.0"}])
def test_with_another_compiler_or_minor_python_it_is_void_and_says_so(
    change: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge({"requests": Count(9000, 9000)}, RECORDED, msgspec.structs.replace(BUILD, **change)) == 0
    assert capsys.readouterr().out.startswith("VOID: recorded for another Python")


def test_what_became_cheaper_should_be_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge({"requests": Count(900, 400)}, RECORDED, BUILD) == 0
    assert "--record it" in capsys.readouterr().out


def test_the_recorded_counts_can_be_read_and_are_of_both_modes() -> None:
    (recorded, *_) = msgspec.json.decode(instructions.FILE.read_bytes(), type=list[Recorded])
    counts = {"requests": recorded.requests, "streams": recorded.streams}
    assert [finding.over for finding in compare(counts, recorded, ("total", "ours"))] == [False] * 4
    assert all(0 < count.ours < count.total for count in counts.values())


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise SystemExit('oh')", "replay of requests ended with 1: oh"),
        ("import sys; open(sys.argv[1], 'w').write('ob=(1) /usr/lib/libc.so\\n1 5\\n')", "nothing of ours was counted"),
    ],
)
def test_a_replay_that_cannot_be_counted_is_no_count(code: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callgrind, "command", lambda plan, path: [sys.executable, "-c", code, str(path)])
    with pytest.raises(BenchError, match=why):
        count_all([Plan("requests", 1, 1)])


def test_a_planted_slowdown_is_counted_and_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    """One kernel reads 500 blanks more at every write: about 8,000 of 150,000 instructions."""
    if program_path("valgrind") is None:
        pytest.skip("valgrind is not installed")
    plans = [Plan("requests", 100, 1), Plan("requests", 100, 1, plant=500)]
    with ThreadPoolExecutor() as pool:
        usual, slow = pool.map(lambda plan: count_all([plan]), plans)
    recorded = Recorded(this_build(), usual["requests"], usual["requests"])
    assert judge(usual, recorded, this_build()) == 0
    assert judge(slow, recorded, this_build()) == 1
    assert capsys.readouterr().out.count("FAILED") == 2


# -- ratios


def test_a_limit_is_a_quarter_more_and_never_above_a_goal_that_was_reached() -> None:
    assert make_limit("haproxy", 1.2, 0.8, "").limit == 1.0
    assert make_limit("haproxy", 1.2, 1.1, "").limit == 1.2
    assert make_limit("haproxy", 1.2, 1.4, "").limit == 1.75


def test_the_median_of_the_pairs_counts() -> None:
    found = tried(measured(10, 11), measured(10, 30), measured(12, 12))
    assert found.void is None
    assert found.ratio is not None
    assert found.ratio.median == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (NOISE, "haproxy's own figures are 50% apart"),
        (tried(measured(10, 10), steal=0.05), "5.0% of the CPU time was taken away"),
        (SPOILT, "lines lost"),
        (tried(), "nothing was measured"),
    ],
)
def test_a_try_that_says_nothing_is_void(found: Try, why: str) -> None:
    assert why in str(found.void)


@pytest.mark.parametrize(
    ("tries", "verdict"),
    [
        ([], "undecided"),
        ([HELD], "held"),
        ([OVER], "undecided"),
        ([OVER, HELD], "held"),
        ([OVER, OVER], "over"),
        ([NOISE, OVER, OVER], "over"),
        ([NOISE, HELD], "held"),
        ([NOISE, NOISE], "undecided"),
        ([NOISE, NOISE, NOISE], "void"),
        ([OVER, NOISE, NOISE], "void"),
        ([SPOILT, SPOILT, NOISE], "void"),
        ([SPOILT, SPOILT, SPOILT], "over"),  # that is not noise: haproxy could be measured each time
    ],
)
def test_noise_fails_nobody_and_hides_nobody_for_ever(tries: list[Try], verdict: str) -> None:
    assert conclude(tries, 1.5) == verdict


def test_when_the_anchor_is_spoilt_too_it_is_not_ours_alone() -> None:
    spoilt = [Measurement("haproxy", "request", {}, "ended"), Measurement(NATIVE, "request", {}, "ended")]
    assert not tried(spoilt).ours
    assert SPOILT.ours


def test_stolen_time_is_a_share_of_all_time() -> None:
    assert ratios.stolen([0] * 8, [50, 0, 0, 40, 0, 0, 0, 10]) == 0.1
    assert len(ratios.cpu_times()) == 8


def test_the_limits_are_those_of_the_issues_goals() -> None:
    found = ratios.read_limits()
    goals = {goal.unit: goal for goal in GOALS if goal.name == NATIVE and goal.anchor in ("haproxy", "nginx")}
    assert set(found) == set(ratios.GATED)
    for unit, limit in found.items():
        assert (limit.anchor, limit.goal) == (goals[unit].anchor, goals[unit].limit)
        assert limit.limit == make_limit(limit.anchor, limit.goal, limit.reached, limit.comment).limit
        assert limit.comment


def test_a_raised_limit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ratios, "FILE", tmp_path / "limits.json")
    old, new = (make_limit("haproxy", 1.2, reached, "a run") for reached in (1.3, 1.4))
    ratios.write_limits({"request": old, "chunk": old}, {"request": new})
    assert "request: the limit is RAISED from 1.625 to 1.75: that needs an ADR" in capsys.readouterr().out
    written = msgspec.json.decode((tmp_path / "limits.json").read_bytes(), type=dict[str, Limit])
    assert written == {"request": new, "chunk": old}


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ([HELD], 0, "request: ok"),
        ([OVER, OVER], 1, "request: FAILED"),
        ([NOISE] * limits.TRIES, 0, "VOID VOID VOID: request was NOT gated"),
    ],
)
def test_the_gate_tries_until_it_is_decided(
    found: list[Try],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    left = list(found)
    monkeypatch.setattr(ratios, "Stage", lambda *_: None)
    monkeypatch.setattr(ratios, "require", lambda *_: None)
    monkeypatch.setattr(ratios, "try_once", lambda *_: left.pop(0))
    monkeypatch.setattr(ratios, "read_limits", lambda: {"request": make_limit("haproxy", 1.2, 1.2, "")})
    assert ratios.main(["--only", "request"]) == status
    assert not left
    assert said in capsys.readouterr().out


def test_only_the_gateway_is_started_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(Programs, "start", lambda self, cpu, name, command, *rest: started.append(command))
    with SlowPrograms(tmp_path) as programs:
        programs.start(0, "gateway", [sys.executable, "-P", "-m", "fastpath.cli", "serve", "--config", "a.yaml"], 1)
        programs.start(0, "haproxy", ["haproxy", "-db"], 1)
    assert started == [[sys.executable, "-P", "-m", "bench.gates.plant", "a.yaml"], ["haproxy", "-db"]]


# -- kernels and twins


def loop(turns: int) -> Callable[[], object]:
    return lambda: sum(range(turns))


def test_a_duel_says_how_many_times_as_fast_one_is() -> None:
    found = duel(loop(200), loop(20_000), turn=0.001)
    assert 20 < found.factor < 500
    assert Duel(native_ns=10, twin_ns=25).factor == 2.5


def test_a_duel_below_its_floor_is_fought_again_and_no_other() -> None:
    fought: list[int] = []

    def twin() -> int:
        fought.append(1)
        return sum(range(20_000))

    assert duel_until(2.0, loop(200), twin).factor > 2
    once = len(fought)
    assert duel_until(1e9, loop(200), twin).factor < 1e9
    assert len(fought) > 4 * once


def test_a_turn_is_filled_with_calls() -> None:
    assert count_calls(loop(100), 0.002) > count_calls(loop(10_000), 0.002) >= 1


def test_a_kernel_keeps_three_quarters_of_its_factor() -> None:
    assert all(floor(name) == KEEP * factor > 1 for name, factor in FACTORS.items())
    with pytest.raises(KeyError):
        floor("a kernel without a floor")


@pytest.mark.alone
@pytest.mark.parametrize(("flags", "status"), [((), 0), (("--plant",), 1)])
def test_a_twin_in_the_kernels_place_is_stopped(root: Path, flags: tuple[str, ...], status: int) -> None:
    pytest.importorskip("pytest_benchmark")
    command = [sys.executable, "-m", "bench.micro", "-k", "classify", *flags]
    wide = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(command, cwd=root, env=wide, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "sse frame classified" in done.stdout
    assert ("times as fast as its twin, at least" in done.stdout) == bool(status)
