"""Process samples against a process whose descriptors and connections are known: this one."""

import gc
import os
import socket

import pytest

from loadtest.checker.sample import sample
from scheduler.clock import ManualClock


def test_a_connection_moves_the_gauges() -> None:
    clock = ManualClock(now=5.0)
    gc.collect()  # What earlier tests left to the collector must not be closed between the samples.
    with socket.create_server(("127.0.0.1", 0)) as server:
        before = sample("self", os.getpid(), clock)
        with socket.create_connection(server.getsockname()):
            peer, _ = server.accept()
            with peer:
                during = sample("self", os.getpid(), clock)
        after = sample("self", os.getpid(), clock)
    assert (before.process, before.at) == ("self", 5.0)
    assert before.fds is not None
    assert before.connections is not None
    assert (during.fds, during.connections) == (before.fds + 2, before.connections + 2)
    assert (after.fds, after.connections) == (before.fds, before.connections)
    assert before.tasks is not None
    assert before.tasks >= 1
    assert before.rss is not None
    assert before.rss > 1_000_000


def test_a_process_that_is_gone_is_an_error() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(OSError, match="No such file"):
        sample("gone", child, ManualClock())
