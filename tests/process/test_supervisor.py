"""Whole nodes in real processes: start, death, reload, drain, and the end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from fastpath.arena import SHARED_MEMORY, arena_folder
from fastpath.settings.pepper import make_pepper
from loadtest.ports import free_port

ROOT = Path(__file__).parent.parent.parent
Start = Text = Until = Callable[..., Any]  # the fixtures of conftest.py

REQUESTS = 'ai_inference_requests_total{model="unknown",path="/pid",status="200"}'
IN_FLIGHT = 'ai_inference_in_flight{model="llama"}'


def _rejected(node: Any) -> float | None:
    return node.metric('fastpath_config_reloads_total{result="rejected"}')


def test_a_node_starts_says_so_and_serves(start: Start, text: Text) -> None:
    node = start(text(workers=2)).serving()
    assert node.line("serving on").endswith("), 2 workers, door native")
    assert len(node.workers()) == 2
    assert int(node.get("/pid")) in {worker.pid for worker in node.workers()}
    assert node.admin("/healthz") == (200, '{"status":"ok"}')
    assert node.admin("/readyz")[0] == 200
    assert node.metric("fastpath_workers") == 2
    assert node.metric(REQUESTS) == 1


def test_the_supervisor_is_small_and_loads_no_door() -> None:
    code = "import sys, fastpath.process.supervisor; print(*(m for m in ('granian', 'uvloop') if m in sys.modules))"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.alone
def test_a_killed_worker_is_replaced_within_two_seconds_and_counters_do_not_fall(
    start: Start, text: Text, until: Until
) -> None:
    node = start(text(workers=2)).serving()
    for _ in range(20):
        node.get("/pid")
    assert node.metric(REQUESTS) == 20
    assert node.metric('ai_inference_requests_total{model="unknown",path="/nothing",status="200"}') is None
    victim = node.workers()[0]
    killed = time.monotonic()
    victim.kill()
    until(lambda: victim.pid not in {worker.pid for worker in node.workers()})
    assert (node.metric(REQUESTS) or 0) >= 20
    until(lambda: node.admin("/readyz")[0] == 200)
    assert time.monotonic() - killed < 2
    assert "SIGKILL" in node.line("will be replaced")
    assert node.metric("fastpath_worker_restarts_total") == 1
    assert node.metric("fastpath_workers") == 2
    assert node.metric(REQUESTS) == 20
    assert int(node.get("/pid")) != victim.pid


def test_nothing_that_a_killed_worker_counted_is_lost_and_what_ran_in_it_is_gone(
    start: Start, text: Text, until: Until
) -> None:
    node = start(text()).serving()
    stream = node.open("/stream")
    assert node.metric(IN_FLIGHT) == 1
    victim = node.workers()[0]
    node.get("/pid")
    victim.kill()
    node.line("will be replaced")
    assert node.metric(REQUESTS) == 1
    assert node.metric(IN_FLIGHT) == 0
    assert node.get("/pid") != str(victim.pid)
    assert node.metric(REQUESTS) == 2
    stream.close()


def test_a_node_with_a_port_of_its_own_has_a_named_arena_and_leaves_nothing_behind(
    start: Start, text: Text, tmp_path: Path
) -> None:
    port = free_port()
    before = set(SHARED_MEMORY.iterdir())
    make_pepper(tmp_path / "state")
    node = start(f"state_dir: {tmp_path / 'state'}\n" + text(port=port)).serving()
    made = arena_folder(tmp_path / "state" / f"127.0.0.1:{port}")
    assert made in set(SHARED_MEMORY.iterdir()) - before
    node.get("/pid")
    node.workers()[0].kill()
    node.line("will be replaced")
    node.get("/pid")
    assert node.metric(REQUESTS) == 2
    node.signal(signal.SIGTERM)
    assert node.exit_code() == 0
    assert not made.exists()


def test_the_pool_of_the_settings_is_shown(start: Start, text: Text) -> None:
    node = start(text()).serving()
    health = 'ai_inference_endpoint_health{endpoint="127.0.0.1:9",model="%s"}'
    assert node.metric(health % "llama") == 1
    assert node.metric('ai_inference_queue_length{model="llama"}') == 0
    assert node.metric('ai_inference_error_rate{model="llama"}') == 0
    node.path.write_text(text("mistral"))
    node.signal(signal.SIGHUP)
    node.line("settings reloaded")
    assert node.metric(health % "llama") is None
    assert node.metric(health % "mistral") == 1


def test_a_worker_asked_to_end_finishes_its_streams_and_is_replaced(start: Start, text: Text, until: Until) -> None:
    node = start(text(drain=1)).serving()
    stream = node.open("/stream")
    old = node.workers()[0]
    old.terminate()
    until(lambda: node.admin("/readyz")[0] == 503)
    assert json.loads(node.admin("/debug/requests")[1])[0]["phase"] == "/stream"
    assert stream.read() == b"first cut llama"
    node.line("will be replaced: it exited with status 0")
    assert int(node.get("/pid")) != old.pid
    assert node.metric('ai_inference_requests_total{model="unknown",path="/stream",status="200"}') == 1


def test_signals_that_a_terminal_sends_to_all_do_not_end_workers(start: Start, text: Text) -> None:
    node = start(text()).serving()
    worker = node.workers()[0]
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        worker.send_signal(number)
    assert node.get("/pid") == str(worker.pid)


def test_requests_in_flight_are_shown_with_their_worker(start: Start, text: Text) -> None:
    node = start(text()).serving()
    stream = node.open("/stream")
    shown = json.loads(node.admin("/debug/requests")[1])
    assert [(entry["worker"], entry["phase"]) for entry in shown] == [(node.workers()[0].pid, "/stream")]
    node.get("/release")
    assert stream.read() == b"first last llama"


@pytest.mark.alone
def test_a_worker_that_hangs_delays_no_metrics(start: Start, text: Text, until: Until) -> None:
    node = start(text(workers=2)).serving()
    for _ in range(10):
        node.get("/pid")
    assert node.metric(REQUESTS) == 10
    hung = node.workers()[0]
    hung.suspend()
    for _ in range(2):
        asked = time.monotonic()
        assert node.metric(REQUESTS) == 10
        assert time.monotonic() - asked < 0.5
    hung.resume()
    asked = time.monotonic()
    until(lambda: node.metric("fastpath_workers") == 2)
    assert node.metric(REQUESTS) == 10


def test_sighup_swaps_the_settings_of_all_workers_and_keeps_them(start: Start, text: Text) -> None:
    node = start(text(workers=2)).serving()
    pids = {worker.pid for worker in node.workers()}
    node.path.write_text(text("mistral", workers=2))
    node.signal(signal.SIGHUP)
    node.line("settings reloaded")
    assert {node.get("/models") for _ in range(20)} == {"mistral"}
    assert {worker.pid for worker in node.workers()} == pids
    assert node.metric('fastpath_config_reloads_total{result="ok"}') == 1


def test_a_worker_that_alone_refuses_new_settings_is_replaced_by_one_that_has_them(
    start: Start, text: Text, until: Until, tmp_path: Path
) -> None:
    node = start(text(workers=2, drain=1), FASTPATH_DEBUG_MARK=str(tmp_path / "mark")).serving()
    pids = {worker.pid for worker in node.workers()}
    node.path.write_text(text("refuse-second", workers=2, drain=1))
    node.signal(signal.SIGHUP)
    node.line("did not take the new settings: ")
    node.line("will be replaced: it exited with status 0")
    until(lambda: node.admin("/readyz")[0] == 200)
    assert {node.get("/models") for _ in range(20)} == {"refuse-second"}
    assert len({worker.pid for worker in node.workers()} & pids) == 1


def test_a_reload_drops_no_stream(start: Start, text: Text) -> None:
    node = start(text()).serving()
    stream = node.open("/stream")
    assert stream.read(6) == b"first "
    node.path.write_text(text("mistral"))
    node.signal(signal.SIGHUP)
    node.line("settings reloaded")
    node.get("/release")
    assert stream.read() == b"last mistral"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda good: "models: [", "fastpath-0.yaml"),
        (lambda good: good.replace("models:", "modles:"), "modles"),
        (lambda good: good.replace("name: llama", "name: refuse"), "the app refuses it"),
    ],
)
def test_bad_settings_keep_the_old_ones_and_say_why(
    start: Start, text: Text, spoil: Callable[[str], str], reason: str
) -> None:
    node = start(text()).serving()
    node.path.write_text(spoil(text()))
    node.signal(signal.SIGHUP)
    node.line("settings not reloaded")
    node.line(reason)
    assert node.get("/models") == "llama"
    assert _rejected(node) == 1
    node.path.write_text(text("mistral"))
    node.signal(signal.SIGHUP)
    node.line("settings reloaded")
    assert node.get("/models") == "mistral"
    assert _rejected(node) == 1


def test_a_replaced_worker_gets_the_new_settings(start: Start, text: Text) -> None:
    node = start(text()).serving()
    node.path.write_text(text("mistral"))
    node.signal(signal.SIGHUP)
    node.line("settings reloaded")
    node.workers()[0].kill()
    node.line("will be replaced")
    assert node.get("/models") == "mistral"


def test_a_changed_file_is_read_again(start: Start, text: Text) -> None:
    node = start(text(), "watch").serving()
    node.path.write_text(text("mistral"))
    node.line("settings reloaded")
    assert node.get("/models") == "mistral"
    node.path.unlink()
    assert "cannot be read" in node.line("settings not reloaded")
    assert node.get("/models") == "mistral"


def test_a_flood_of_signals_is_one_or_a_few_reloads(start: Start, text: Text) -> None:
    node = start(text()).serving()
    for _ in range(200):
        node.signal(signal.SIGHUP)
    node.line("settings reloaded")
    assert node.get("/models") == "llama"
    assert 1 <= (node.metric('fastpath_config_reloads_total{result="ok"}') or 0) <= 200
    node.signal(signal.SIGTERM)
    assert node.exit_code() == 0


def test_what_needs_a_restart_is_named_and_the_rest_applies(start: Start, text: Text) -> None:
    node = start(text()).serving()
    node.path.write_text(text("mistral", workers=3, port=1))
    node.signal(signal.SIGHUP)
    assert node.line("only with a restart").endswith("workers, listen.port")
    assert node.get("/models") == "mistral"
    assert len(node.workers()) == 1


def test_a_mixture_of_old_and_new_that_is_unsafe_is_refused(start: Start, text: Text) -> None:
    public = text().replace("host: 127.0.0.1, port", "insecure: true, host: 0.0.0.0, port")
    node = start(public).serving()
    node.path.write_text(text("mistral"))
    node.signal(signal.SIGHUP)
    node.line("settings not reloaded")
    node.line("reachable from other machines")
    assert node.get("/models") == "llama"


@pytest.mark.parametrize("which", ["port", "admin_port"])
def test_a_busy_port_is_one_clear_line(start: Start, text: Text, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner:
        port = owner.getsockname()[1]
        node = start(text(**{which: port}))
        assert node.exit_code() == 1
    node.end()
    assert len(node.lines) == 1
    assert f"port {port} on 127.0.0.1 is in use" in node.lines[0]
    assert f"--{which.replace('_', '-')}" in node.lines[0]


def test_bad_settings_at_the_start_are_an_exit_not_a_traceback(start: Start) -> None:
    node = start("models: 7")
    assert node.exit_code() == 1
    node.end()
    assert node.lines
    assert "Traceback" not in "".join(node.lines)


def test_an_app_that_refuses_the_settings_ends_the_start(start: Start, text: Text) -> None:
    node = start(text("refuse", workers=2))
    assert node.exit_code() == 1
    node.end()
    assert [line for line in node.lines if "the app refuses it" in line]
    assert "Traceback" not in "".join(node.lines)


def test_workers_that_die_at_once_end_the_start(start: Start, text: Text) -> None:
    node = start(text(), app="fake_app:crash")
    assert node.exit_code() == 1
    assert "SIGKILL" in node.line("workers die while they start")


def test_sigterm_finishes_streams_and_refuses_new_connections(start: Start, text: Text, until: Until) -> None:
    node = start(text()).serving()
    short, endless = node.open("/short"), node.open("/stream")
    node.signal(signal.SIGTERM)
    until(lambda: _refused(node))
    assert node.admin("/readyz")[0] == 503
    assert node.admin("/healthz")[0] == 200
    assert short.read() == b"first last llama"
    assert node.process.poll() is None
    node.signal(signal.SIGTERM)
    assert node.admin("/readyz")[0] == 503
    node.signal(signal.SIGINT)
    node.line("stopping at once")
    assert endless.read() == b"first cut llama"
    assert node.exit_code() == 0


def _refused(node: Any) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", node.port)) != 0


def test_the_drain_deadline_ends_streams_in_band(start: Start, text: Text) -> None:
    node = start(text(drain=0.3)).serving()
    stream = node.open("/stream")
    node.signal(signal.SIGTERM)
    assert stream.read() == b"first cut llama"
    assert node.exit_code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_node_ends_at_once(start: Start, text: Text, number: signal.Signals) -> None:
    node = start(text(workers=2)).serving()
    workers = node.workers()
    node.signal(number)
    assert node.exit_code() == 0
    assert not any(worker.is_running() for worker in workers)
    node.end()
    assert "Traceback" not in "".join(node.lines)


def test_sigterm_during_the_start_is_a_clean_end(start: Start, text: Text, until: Until) -> None:
    node = start(text(workers=2))
    until(lambda: node.process.poll() is not None or node.workers())
    node.signal(signal.SIGTERM)
    assert node.exit_code() == 0
    node.end()
    assert "Traceback" not in "".join(node.lines)


def test_a_second_signal_ends_even_a_worker_that_hangs(start: Start, text: Text, until: Until) -> None:
    node = start(text(drain=60)).serving()
    hung = node.workers()[0]
    hung.suspend()
    node.signal(signal.SIGINT)
    until(lambda: node.admin("/readyz")[0] == 503)
    node.signal(signal.SIGINT)
    node.line("stopping at once")
    assert node.exit_code() == 0
    assert not hung.is_running()


def test_no_secret_is_in_the_environment_or_arguments_of_a_worker(start: Start, text: Text) -> None:
    node = start(text(), XDG_SECRET="canary-withheld", FASTPATH_DEBUG_X="1", AWS_KEY="canary-other").serving()
    worker = node.workers()[0]
    environ = Path(f"/proc/{worker.pid}/environ").read_bytes()
    arguments = Path(f"/proc/{worker.pid}/cmdline").read_bytes()
    assert b"canary" not in environ + arguments
    assert b"FASTPATH_DEBUG_X=1" in environ
    assert set(worker.environ()) & {"UPSTREAM_KEY", "XDG_SECRET", "AWS_KEY", "NOTIFY_SOCKET"} == set()


def test_idle_workers_end_when_their_supervisor_is_killed(start: Start, text: Text) -> None:
    node = start(text(workers=2)).serving()
    workers = node.workers()
    node.signal(signal.SIGKILL)
    node.process.wait()
    assert psutil.wait_procs(workers, timeout=20)[1] == []


def test_workers_of_a_dead_supervisor_still_finish_their_streams(start: Start, text: Text) -> None:
    node = start(text(drain=0.5)).serving()
    stream = node.open("/stream")
    workers = node.workers()
    node.signal(signal.SIGKILL)
    node.process.wait()
    assert stream.read() == b"first cut llama"
    assert psutil.wait_procs(workers, timeout=10)[1] == []


def test_as_pid_1_it_reaps_what_is_left_to_it(start: Start, text: Text, until: Until) -> None:
    node = start(text(), "subreaper").serving()
    for _ in range(5):
        node.get("/orphan")
    until(lambda: len(psutil.Process(node.process.pid).children()) == 1)
    assert node.metric("fastpath_workers") == 1
    assert node.metric("fastpath_worker_restarts_total") == 0


def test_the_service_manager_is_told(start: Start, text: Text, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        node = start(text(), NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="50000").serving()
        assert manager.recv(1000).startswith(b"READY=1\nSTATUS=serving on http://127.0.0.1:")
        assert manager.recv(1000) == b"WATCHDOG=1"
        node.signal(signal.SIGHUP)
        heard = _hear(manager, b"RELOADING=1")
        assert b"MONOTONIC_USEC=" in heard
        _hear(manager, b"READY=1")
        node.signal(signal.SIGTERM)
        _hear(manager, b"STOPPING=1")
        assert node.exit_code() == 0


def _hear(manager: socket.socket, start: bytes) -> bytes:
    while not (heard := manager.recv(1000)).startswith(start):
        assert heard == b"WATCHDOG=1"
    return heard


def test_every_request_leaves_a_line_and_the_counters_agree(
    start: Start, text: Text, tmp_path: Path, until: Until
) -> None:
    log = tmp_path / "access.jsonl"
    node = start(text(workers=2, access=str(log))).serving()
    for _ in range(25):
        node.get("/pid")
    until(lambda: node.metric("fastpath_access_log_lines_total") == 25)
    assert node.metric("fastpath_access_log_dropped_total") == 0
    node.signal(signal.SIGTERM)
    assert node.exit_code() == 0
    assert [json.loads(line) for line in log.read_text().splitlines()] == [{"path": "/pid"}] * 25


def test_loop_lag_and_budget_are_shown(start: Start, text: Text, until: Until) -> None:
    node = start(text()).serving()
    until(lambda: (node.metric("fastpath_loop_lag_seconds_count") or 0) >= 2)
    assert node.metric('fastpath_memory_budget_bytes{kind="limit"}') == 512 << 20
    assert node.metric('fastpath_memory_budget_bytes{kind="used"}') == 0


def test_sigusr1_dumps_stacks_and_harms_nothing(start: Start, text: Text) -> None:
    node = start(text()).serving()
    for pid in (node.process.pid, node.workers()[0].pid):
        os.kill(pid, signal.SIGUSR1)
    node.line("most recent call first", count=2)
    assert node.get("/pid") == str(node.workers()[0].pid)
