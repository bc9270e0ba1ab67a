"""What the service manager hears."""

import socket
from pathlib import Path

import pytest

from fastpath.process.notify import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_states_arrive_at_a_path_or_an_abstract_name(tmp_path: Path, abstract: bool) -> None:
    name = f"@fastpath-test-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": name}, pid=7)
        notifier.ready("serving")
        notifier.reloading(12.5)
        notifier.stopping()
        notifier.alive()
        heard = [manager.recv(1000) for _ in range(4)]
        notifier.close()
    assert heard == [
        b"READY=1\nSTATUS=serving",
        b"RELOADING=1\nMONOTONIC_USEC=12500000",
        b"STOPPING=1\nSTATUS=draining",
        b"WATCHDOG=1",
    ]


def test_without_a_manager_nothing_happens() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000000"}, pid=7)
    notifier.ready("serving")
    assert notifier.watchdog is None
    notifier.close()


def test_a_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, pid=7)
    notifier.ready("serving")
    notifier.close()
    notifier.stopping()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_meant_for_one_process(environ: dict[str, str], seconds: float | None) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "/nowhere", **environ}, pid=7)
    assert notifier.watchdog == seconds
    notifier.close()
