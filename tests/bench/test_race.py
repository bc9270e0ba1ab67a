"""The arithmetic of the race, its goals, and its rules for what is void; the race itself needs a quiet machine."""

import asyncio
import os
import re
import time
from pathlib import Path
from typing import cast

import pytest
from msgspec import structs

from bench.e2e import syscalls
from bench.e2e.__main__ import Figures, verdicts, voids
from bench.e2e.books import Books, judge
from bench.e2e.race import turned
from bench.e2e.ratios import Measurement, compare, judge_goals, missed_goals, summarise
from bench.e2e.syscalls import Calls, counting, judge_calls, per_request
from bench.e2e.units import GOALS, UNITS, Goal, body_of, takes_part
from bench.load.chunks import Stream, Tally, Writer, check
from bench.load.requests import percentile, served
from bench.stage.callers import MARK, make_body, write_load
from bench.stage.model_server import PHASES, next_due
from bench.stage.programs import BenchError, Void

ANCHORS = {name: unit.anchor for name, unit in UNITS.items()}
WRK = """\
Running 6s test @ http://127.0.0.1:1/
  Latency Distribution
     50%    1.00ms
     75%  950.00us
     90%    1.20s
     99%    3.00ms
  120000 requests in 6.00s, 80.00MB read
"""
PERF = """\
# started on Sun Nov 22 04:25:00 2026

350,,raw_syscalls:sys_enter,9,100.00,,
200,,syscalls:sys_enter_read,9,100.00,,
50,,syscalls:sys_enter_futex,9,100.00,,
0,,syscalls:sys_enter_connect,9,100.00,,
100,,syscalls:sys_enter_epoll_pwait,9,100.00,,
"""


def measured(unit: str = "request", **cpu_us: float) -> list[Measurement]:
    return [Measurement(name, unit, {"cpu_us": cpu, "rss_mb": 10.0}) for name, cpu in cpu_us.items()]


def test_each_figure_is_divided_by_the_anchor_of_its_own_round() -> None:
    # The machine got twice as slow in the second round: the ratio did not.
    found = compare([measured(haproxy=20, ours=50), measured(haproxy=40, ours=100)], "request", "ours", "haproxy")
    assert found is not None
    assert (found.median, found.lowest, found.highest, found.rounds) == (2.5, 2.5, 2.5, 2)


def test_the_median_and_the_spread_are_over_rounds() -> None:
    row = summarise([measured(haproxy=10, ours=cpu) for cpu in (20, 50, 30)], ANCHORS)[-1]
    assert (row.name, row.median, row.lowest, row.highest) == ("ours", 3.0, 2.0, 5.0)


def test_a_round_without_its_anchor_or_void_does_not_count() -> None:
    lost = [Measurement("haproxy", "request", {}, "ended"), *measured(ours=50)]
    void = [*measured(haproxy=10), Measurement("ours", "request", {"cpu_us": 1, "rss_mb": 1}, "lines lost")]
    rows = summarise([lost, void, measured(haproxy=10, ours=20)], ANCHORS)
    assert [(row.name, row.median, row.rounds) for row in rows] == [("haproxy", 1.0, 2), ("ours", 2.0, 1)]


def test_each_unit_has_its_own_anchor_and_chunks_are_tokens() -> None:
    rows = summarise([[*measured(haproxy=10, nginx=20), *measured("chunk", haproxy=20, nginx=10)]], ANCHORS)
    ratios = {(row.unit, row.name): row.median for row in rows}
    assert ratios["request", "nginx"] == ratios["chunk", "haproxy"] == 2.0
    assert [row.tokens_per_core for row in rows if row.unit == "chunk"] == [100_000, 50_000]


def test_a_missed_goal_is_named_and_the_others_are_not() -> None:
    goals = [Goal("request", "ours", "haproxy", 2.0), Goal("request", "ours", "router", 1.0), GOALS[-1]]
    assert missed_goals([measured(haproxy=10, ours=20, router=20)], goals) == []
    (missed,) = missed_goals([measured(haproxy=10, ours=21, router=30)], goals)
    assert missed == "request, ours: 2.10 times haproxy, at most 2.0"


def test_every_goal_has_a_verdict() -> None:
    goals = [Goal("request", "ours", "haproxy", 2.0), Goal("request", "ours", "router", 1.0), GOALS[0]]
    found = judge_goals([measured(haproxy=10, ours=20, router=10)], goals)
    assert [(one.reached, one.text) for one in found] == [(2.0, "met"), (2.0, "missed"), (None, "not measured")]
    figures = Figures([measured(haproxy=10, ours=20, router=10)], [], goals, Calls(100, {"futex": 0.02}, {}))
    assert list(verdicts(figures).columns[-1].cells) == ["met", "missed", "not measured", "missed"]
    assert list(verdicts(structs.replace(figures, calls=None)).columns[-1].cells)[-1] == "not measured"


def test_the_order_turns_from_round_to_round_inside_each_unit() -> None:
    entries = [(UNITS[unit], name) for unit in ("request", "chunk") for name in "abc"]
    assert [name for _, name in turned(entries, 1)] == ["b", "c", "a"] * 2
    assert [unit.name for unit, _ in turned(entries, 4)] == ["request"] * 3 + ["chunk"] * 3


def test_fewer_than_five_rounds_are_void_and_so_is_a_void_measurement() -> None:
    assert voids([measured(haproxy=1)] * 5) == []
    assert voids([measured(haproxy=1)] * 4) == ["4 rounds are fewer than 5"]
    assert voids([[Measurement("x", "chunk", {}, "why")]] * 5) == ["x, chunk: why"] * 5


@pytest.mark.parametrize("name", UNITS)
def test_every_body_can_be_made_unique(name: str) -> None:
    body = body_of(UNITS[name])
    assert body.count(MARK.encode()) == 1
    assert (b'"stream": true' in body) == UNITS[name].streamed
    low, high = {"prompt-53k": (53_000, 54_000), "prompt-1m": (1_000_000, 1_100_000)}.get(name, (900, 1_100))
    assert low <= len(body) <= high


def test_who_takes_part() -> None:
    assert takes_part("haproxy", "tls-chunk")
    assert not takes_part("litellm", "chunk")
    assert not takes_part("fastpath-native-2w", "chunk")


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
    found = judge(Books(0, 7), Books(lines, 7 + requests), served=100, cut=10)
    assert (found is None) if why is None else (why in str(found))


def test_what_wrk_says() -> None:
    assert served(WRK) == 120_000
    assert [percentile(WRK, share) for share in (50, 75, 90, 99)] == pytest.approx([1.0, 0.95, 1200.0, 3.0])


@pytest.mark.parametrize("line", ["  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 1\n"])
def test_anything_but_2xx_makes_it_void(line: str) -> None:
    with pytest.raises(Void, match=re.escape(line.strip())):
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


def test_calls_per_request_are_read_from_perfs_table() -> None:
    assert per_request(PERF, 100) == {"all": 3.5, "read": 2.0, "epoll_pwait": 1.0, "futex": 0.5}


@pytest.mark.parametrize(
    ("replaced", "by", "why", "kind"),
    [
        ("50,,syscalls:sys_enter_futex", "<not counted>,,syscalls:sys_enter_futex", "did not count futex", Void),
        ("50,,syscalls:sys_enter_futex", "<not supported>,,syscalls:sys_enter_futex", "count futex here", BenchError),
        ("50,,syscalls:sys_enter_futex,9,100.00,,\n", "", "did not count futex", Void),
        ("350,,raw_syscalls:sys_enter,9,100.00,,\n", "", "did not count all", Void),
    ],
)
def test_what_perf_did_not_count_is_no_zero(replaced: str, by: str, why: str, kind: type[Exception]) -> None:
    assert replaced in PERF
    with pytest.raises(kind, match=why):
        per_request(PERF.replace(replaced, by), 100)


def test_a_table_in_which_nothing_happened_is_void() -> None:
    """Requests are served by calls: it looked at somebody else."""
    with pytest.raises(Void, match="no call at all"):
        per_request(re.sub(r"(?m)^\d+,", "0,", PERF), 100)
    with pytest.raises(Void, match="did not count all, futex"):
        per_request("", 100)


@pytest.mark.parametrize("awaited", [True, False], ids=["before it is told", "meanwhile"])
def test_a_perf_that_ended_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awaited: bool) -> None:
    fake = tmp_path / "perf"
    fake.write_text(
        "#!/bin/sh\necho $$ >PID.new; mv PID.new PID; echo You may not >&2; exit 1\n".replace("PID", f"{fake}.pid")
    )
    fake.chmod(0o700)
    monkeypatch.setattr(syscalls, "program_path", lambda name: str(fake))
    monkeypatch.setattr(syscalls, "LOAD_CPU", min(os.sched_getaffinity(0)))
    with counting(tmp_path / "table", ["-t", "1"]) as tell:
        while awaited and not is_over(tmp_path / "perf.pid"):
            time.sleep(0.001)
        with pytest.raises(BenchError, match="perf: You may not"):
            tell("enable")


def is_over(pid: Path) -> bool:
    """Whether the process that wrote its pid is a zombie, whose pipes are closed."""
    return pid.exists() and " Z " in Path(f"/proc/{pid.read_text().strip()}/stat").read_text()


def test_a_futex_per_request_misses_the_goal_on_the_loop_alone() -> None:
    assert judge_calls(Calls(100, {"futex": 0.01}, {"futex": 1.0})) == []
    assert "0.500 futex calls" in judge_calls(Calls(100, {"futex": 0.5}, {}))[0]


class Sink:
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


def test_nobody_asks_once_it_is_over(tmp_path: Path) -> None:
    """What is asked then reaches the gateway's books and not ours."""
    tally, sink = Tally(), Sink()
    stream = Stream(Writer(write_load(tmp_path, "load", ("one",), make_body("request_stream"))), tally)
    stream.connection_made(cast(asyncio.BaseTransport, sink))
    stream.data_received(b"HTTP/1.1 200 OK\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    assert (tally.begun, len(sink.written)) == (2, 2)
    tally.over = True
    stream.data_received(b"HTTP/1.1 200 OK\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    assert (tally.begun, len(sink.written)) == (2, 2)


def test_a_model_server_that_was_kept_from_its_work_does_not_pour_it_out_afterwards() -> None:
    tick = 0.02
    assert next_due(10.0, 9.9, tick) == pytest.approx(10 + tick / PHASES)
    assert next_due(10.0, 10.005, tick) == pytest.approx(10 + tick / PHASES)  # a little late: made up for
    due, at, now = 10.0, [0.0] * PHASES, 10.5
    for phase in range(2 * PHASES):  # half a second late, and everything is due at once
        due = next_due(due, now, tick)
        now = max(now, due)
        assert now - at[phase % PHASES] >= tick / 2 - 1e-9
        at[phase % PHASES] = now
