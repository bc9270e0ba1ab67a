"""A control process that hangs is noticed, said, killed and started anew."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from fastpath.liaison import Asked, PulseAsked, SpentAsked, Told, Vitals
from fastpath.observe.metrics import Metrics
from fastpath.process.control import ControlChild
from fastpath.process.liaison import Liaison, NoAnswer
from fastpath.process.pulse import Patience, Pulse
from scheduler.clock import ManualClock, SystemClock
from tests.process.test_control import Reaper, until

#: A process that answers every question with its pid, and serves until its input ends.
ANSWERS = """
import os, socket, sys, threading
path = sys.argv[1]
if os.path.exists(path):
    os.unlink(path)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(8)
def serve():
    while True:
        caller, _ = listener.accept()
        caller.recv(4096)
        caller.sendall(b'{"type":"vitals","records":%d}\\n' % os.getpid())
        caller.close()
threading.Thread(target=serve, daemon=True).start()
print('fastpath control serving on http://x:1', file=sys.stderr, flush=True)
sys.stdin.read()
"""


class Patient:
    """A control process that is only told of."""

    def __init__(self) -> None:
        self.url = "http://x:1"
        self.killed = 0

    def kill_hung(self) -> None:
        self.killed += 1


class Answers:
    """Answers, or lets time pass."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.told: Told | None = Vitals(records=7)
        self.takes = 0.0

    async def ask(self, question: Asked, within: float) -> Told:
        assert question == PulseAsked()
        self.clock.advance(self.takes or (0.01 if self.told else within))
        if self.told is None:
            raise NoAnswer("no answer")
        return self.told


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def answers(clock: ManualClock) -> Answers:
    return Answers(clock)


@pytest.fixture
def patient() -> Patient:
    return Patient()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def pulse(patient: Patient, answers: Answers, clock: ManualClock, said: list[str]) -> Pulse:
    return Pulse(patient, answers, clock, said.append)


async def test_five_missed_questions_are_said_and_thirty_seconds_are_the_end(
    pulse: Pulse, patient: Patient, answers: Answers, said: list[str]
) -> None:
    await pulse.look()
    answers.told = None
    for _ in range(4):
        await pulse.look()
    assert (pulse.problem, said) == ("", [])
    await pulse.look()
    assert pulse.problem == "the control process has not answered for 5 s"
    assert len(said) == 1
    for _ in range(24):
        await pulse.look()
    assert patient.killed == 0
    await pulse.look()
    await pulse.look()
    assert patient.killed == 1
    assert said[1:] == ["the control process has not answered for 30 s: killed"]


async def test_one_that_answers_again_is_well_again(pulse: Pulse, answers: Answers, said: list[str]) -> None:
    await pulse.look()
    answers.told = None
    for _ in range(6):
        await pulse.look()
    answers.told = Vitals()
    await pulse.look()
    assert pulse.problem == ""
    assert said[1] == "the control process answers again after 6.0 s"


async def test_another_that_hangs_at_the_same_address_is_killed_as_well(
    pulse: Pulse, patient: Patient, answers: Answers
) -> None:
    for kills in (1, 2):
        answers.told = Vitals()
        await pulse.look()
        answers.told = None
        for _ in range(60):
            await pulse.look()
        assert patient.killed == kills


async def test_one_that_does_not_serve_yet_is_not_judged(pulse: Pulse, patient: Patient, answers: Answers) -> None:
    answers.told = None
    patient.url = ""
    for _ in range(60):
        await pulse.look()
    patient.url = "http://x:2"
    for _ in range(4):
        await pulse.look()
    assert (pulse.problem, patient.killed) == ("", 0)


async def test_nobody_is_blamed_while_the_supervisor_itself_stood_still(
    pulse: Pulse, patient: Patient, answers: Answers
) -> None:
    await pulse.look()
    answers.told = None
    answers.takes = 100.0
    for _ in range(5):
        await pulse.look()
    assert pulse.problem
    assert patient.killed == 0


async def test_its_numbers_are_on_the_page_while_it_answers(pulse: Pulse, answers: Answers) -> None:
    metrics = Metrics()
    pulse.publish(metrics)
    assert metrics.snapshot().gauges["fastpath_control_up"] == {(): 0.0}
    answers.told = Vitals(
        lag_seconds=2.5, deliveries={"dead": 3}, records=9, lost_bound={"EUR": 1_500_000_000}, lost_unbounded=4
    )
    await pulse.look()
    shown = metrics.snapshot()
    assert shown.gauges["fastpath_control_up"] == {(): 1.0}
    assert shown.gauges["fastpath_settlement_lag_seconds"] == {(): 2.5}
    assert shown.counters["fastpath_settlement_records_total"] == {(): 9.0}
    assert shown.gauges["fastpath_settlement_lost_bound"] == {("EUR",): 1.5}
    assert shown.gauges["fastpath_settlement_lost_unbounded"] == {(): 4.0}
    assert shown.counters["fastpath_alert_deliveries_total"] == {("dead",): 3.0}
    answers.told = None
    for _ in range(5):
        await pulse.look()
    shown = metrics.snapshot()
    assert shown.gauges["fastpath_control_up"] == {(): 0.0}
    assert "fastpath_settlement_lag_seconds" not in shown.gauges
    assert shown.counters["fastpath_settlement_records_total"] == {(): 9.0}, "it would count anew when it is back"


async def test_a_stopped_process_is_killed_and_another_one_answers(tmp_path: Path) -> None:
    """With SIGSTOP, as a debugger or a full disk would have it; the seconds are shorter than in service."""
    said: list[str] = []
    command = (sys.executable, "-c", ANSWERS, str(tmp_path / "node.sock"))
    child = ControlChild(b"{}\n", dict(os.environ), SystemClock(), said.append, command)
    patience = Patience(every=0.05, within=1.0, misses=2, kill_after=2.5)
    pulse = Pulse(child, Liaison(tmp_path), SystemClock(), said.append, patience)
    reaper = Reaper()
    running = asyncio.create_task(child.run(reaper.expect_exit))
    watching = asyncio.create_task(pulse.watch())
    await until(lambda: pulse.vitals)
    assert pulse.vitals == Vitals(records=reaper.started[0])
    os.kill(reaper.started[0], signal.SIGSTOP)
    await until(lambda: pulse.problem)
    await until(lambda: pulse.vitals and pulse.vitals.records == reaper.started[-1] != reaper.started[0])
    assert pulse.problem == ""
    assert any("killed" in line for line in said)
    assert any("was killed by SIGKILL" in line for line in said)
    assert child.restarts == 1
    watching.cancel()
    await child.stop()
    await running


@pytest.mark.parametrize(
    "line", [b"", b"{}\n", b"\xff\n", b'{"type":"vitals","records":"x"}\n', b"[" * 200_000 + b"\n"]
)
async def test_what_is_no_answer_counts_as_none(tmp_path: Path, line: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(line)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(tmp_path / "node.sock"))
    with pytest.raises(NoAnswer):
        await Liaison(tmp_path).ask(SpentAsked(()), 5.0)
    server.close()


async def test_nobody_there_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer):
        await Liaison(tmp_path).ask(PulseAsked(), 5.0)
