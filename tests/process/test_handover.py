"""One supervisor after the other on the same sockets, with the tests' own app."""

import contextlib
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from fastpath.process.handover import VARIABLE, Inheritance, inherit

Start = Text = Until = Callable[..., Any]  # the fixtures of conftest.py


@pytest.fixture
def hand_over() -> Iterator[Callable[[Any], int]]:
    """`hand_over(node)` gives the process id of its successor, which is ended with the test."""
    successors: list[psutil.Process] = []

    def run(node: Any) -> int:
        node.workers()
        node.signal(signal.SIGUSR2)
        pid = int(re.findall(r"handed over to process (\d+)", node.line("handed over to"))[0])
        successors.append(psutil.Process(pid))
        return pid

    yield run
    for successor in successors:
        with contextlib.suppress(psutil.NoSuchProcess):
            family = [*successor.children(), successor]
            for process in family:
                process.kill()


def test_a_successor_serves_on_the_same_sockets(start: Start, text: Text, hand_over: Any, until: Until) -> None:
    node = start(text(workers=2)).serving()
    before = {worker.pid for worker in node.workers()}
    pid = hand_over(node)
    assert node.exit_code() == 0
    after = {child.pid for child in psutil.Process(pid).children()}
    assert len(after) == 2
    assert not after & before
    assert int(node.get("/pid")) in after
    assert node.admin("/readyz")[0] == 200
    assert VARIABLE not in "".join(psutil.Process(after.pop()).environ())


def test_it_reads_its_settings_anew(start: Start, text: Text, hand_over: Any) -> None:
    node = start(text()).serving()
    node.path.write_text(text("mistral", workers=2))
    pid = hand_over(node)
    assert node.exit_code() == 0
    assert node.get("/models") == "mistral"
    assert len(psutil.Process(pid).children()) == 2


def test_a_stream_of_the_old_workers_ends_by_itself(start: Start, text: Text, hand_over: Any, until: Until) -> None:
    node = start(text()).serving()
    stream = node.open("/stream")
    old = node.workers()[0].pid
    hand_over(node)
    until(lambda: int(node.get("/pid")) != old)
    assert node.process.poll() is None
    os.kill(old, 0)
    stream.close()
    short = node.open("/short")
    assert short.read() == b"first last llama"


def test_a_successor_that_cannot_start_changes_nothing(start: Start, text: Text) -> None:
    node = start(text()).serving()
    worker = node.workers()[0].pid
    good = node.path.read_text()
    node.path.write_text("models: 7")
    node.signal(signal.SIGUSR2)
    assert "it ended with status 1" in node.line("not handed over")
    assert int(node.get("/pid")) == worker
    node.path.write_text(good)
    node.signal(signal.SIGTERM)
    assert node.exit_code() == 0


def test_a_stop_during_the_hand_over_ends_both(start: Start, text: Text, until: Until) -> None:
    node = start(text()).serving()
    workers = len(psutil.Process(node.process.pid).children())
    node.signal(signal.SIGUSR2)
    until(lambda: len(psutil.Process(node.process.pid).children()) > workers)
    family = psutil.Process(node.process.pid).children(recursive=True)
    node.signal(signal.SIGTERM)
    assert node.exit_code() == 0
    until(lambda: not any(process.is_running() and process.status() != "zombie" for process in family))


def test_the_manager_is_told_who_the_service_is(
    start: Start, text: Text, hand_over: Any, tmp_path: Any, until: Until
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        node = start(text(), NOTIFY_SOCKET=str(tmp_path / "notify")).serving()
        assert manager.recv(1000).startswith(b"READY=1")
        pid = hand_over(node)
        heard = {manager.recv(1000).splitlines()[0] for _ in range(2)}
        assert heard == {b"READY=1", b"MAINPID=%d" % pid}


def test_another_address_is_not_taken_from_the_inheritance() -> None:
    with contextlib.ExitStack() as stack:
        callers, admin = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        line, far = (stack.enter_context(end) for end in socket.socketpair())
        left = Inheritance(callers, admin, line)
        assert left.take("callers", "127.0.0.1", admin.getsockname()[1]) is None
        assert left.take("callers", "127.0.0.2", 0) is None
        assert left.take("callers", "127.0.0.1", 0) is callers
        assert left.take("admin", "localhost", admin.getsockname()[1]) is admin
        left.serving()
        assert far.recv(100) == b"serving\n"


@pytest.mark.parametrize("given", ["", "x", "1,2", "99997,99998,99999"])
def test_what_is_no_inheritance_is_none(given: str) -> None:
    assert inherit({VARIABLE: given}) is None
