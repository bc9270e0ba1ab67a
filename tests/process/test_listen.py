"""Listening sockets and the plain words when one cannot be had."""

import socket
import stat
from pathlib import Path

import pytest

from fastpath.process.listen import (
    ListenError,
    UnixListener,
    open_for_callers,
    open_in_worker,
    open_listener,
    url_of,
)
from fastpath.settings import Listen


def test_a_free_port_is_listened_on() -> None:
    with open_listener("localhost", 0, 5, "--port") as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert not listener.get_inheritable()
        socket.create_connection(listener.getsockname()).close()


def test_a_busy_port_says_which_and_what_to_do() -> None:
    with open_listener("127.0.0.1", 0, 5, "--port") as owner:
        port = owner.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            open_listener("127.0.0.1", port, 5, "--admin-port")
    text = str(caught.value)
    assert f"port {port} on 127.0.0.1 is in use" in text
    assert f"ss -ltnp 'sport = :{port}'" in text
    assert "--admin-port" in text
    assert "\n" not in text


def test_a_port_is_free_again_at_once() -> None:
    with open_listener("127.0.0.1", 0, 5, "--port") as listener:
        port = listener.getsockname()[1]
        caller = socket.create_connection(("127.0.0.1", port))
        served, _ = listener.accept()
        served.close()
    caller.close()
    open_listener("127.0.0.1", port, 5, "--port").close()


@pytest.mark.parametrize(("host", "words"), [("192.0.2.1", "does not have that address"), ("no.invalid", "no.invalid")])
def test_an_address_that_is_not_ours(host: str, words: str) -> None:
    with pytest.raises(ListenError, match=words):
        open_listener(host, 0, 5, "--port")


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_every_address_means_ipv4_too() -> None:
    with open_listener("::", 0, 5, "--port") as listener:
        port = listener.getsockname()[1]
        assert url_of(listener, "https") == f"https://[::]:{port}"
        socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize(("mode", "bits"), [("0600", 0o600), ("0660", 0o660), ("0666", 0o666)])
def test_a_unix_socket_has_its_mode_and_goes_with_the_gateway(tmp_path: Path, mode: str, bits: int) -> None:
    path = tmp_path / "door"
    with open_for_callers(Listen(unix=str(path), unix_mode=mode)) as listener:
        assert stat.S_IMODE(path.stat().st_mode) == bits
        assert url_of(listener) == f"unix:{path}"
        assert not listener.get_inheritable()
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
    assert not path.exists()


def test_a_duplicate_that_is_closed_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "door"
    with UnixListener.open(str(path), 0o600, 5) as listener:
        listener.dup().close()
        assert path.exists()


def test_the_file_of_a_dead_gateway_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()
    assert Path(path).is_socket()
    with UnixListener.open(path, 0o600, 5), socket.socket(socket.AF_UNIX) as caller:
        caller.connect(path)


@pytest.mark.parametrize("full", [False, True], ids=["free", "full"])
def test_the_file_of_a_live_gateway_is_not(tmp_path: Path, full: bool) -> None:
    path = str(tmp_path / "door")
    callers = []
    with UnixListener.open(path, 0o600, 0):
        while full:
            callers.append(socket.socket(socket.AF_UNIX))
            callers[-1].setblocking(False)
            try:
                callers[-1].connect(path)
            except BlockingIOError:
                break
        with pytest.raises(ListenError, match="another process serves there"):
            UnixListener.open(path, 0o600, 5)
        assert Path(path).exists()
    for caller in callers:
        caller.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match="no socket"):
        UnixListener.open(str(path), 0o600, 5)
    assert path.read_text() == "data"


def test_a_file_that_another_put_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "door"
    listener = UnixListener.open(str(path), 0o600, 5)
    path.rename(tmp_path / "moved")
    with UnixListener.open(str(path), 0o600, 5):
        listener.close()
        assert path.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="its folder does not exist"):
        UnixListener.open(str(tmp_path / "none" / "door"), 0o600, 5)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"])
def test_workers_share_a_port_that_the_supervisor_keeps(host: str) -> None:
    listen = Listen(host=host, port=0, reuse_port=True)
    with open_for_callers(listen) as keeper:
        address = keeper.getsockname()[:2]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        with open_in_worker(keeper, listen) as one, open_in_worker(keeper, listen) as two:
            assert one.getsockname() == two.getsockname() == keeper.getsockname()
            assert not one.get_inheritable()
            callers = [socket.create_connection(address) for _ in range(64)]
            for caller in callers:
                caller.sendall(b"G")
            counts = [_take_all(listener) for listener in (one, two)]
            assert sum(counts) == 64
            assert min(counts) > 0
        for caller in callers:
            caller.close()


def _take_all(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_port_that_is_shared_is_not_given_to_another_gateway() -> None:
    listen = Listen(port=0, reuse_port=True)
    with open_for_callers(listen) as keeper, open_in_worker(keeper, listen):
        again = Listen(port=keeper.getsockname()[1], reuse_port=True)
        with pytest.raises(ListenError, match="is in use"):
            open_for_callers(again)


def test_without_reuse_port_a_worker_takes_what_it_inherits() -> None:
    with open_for_callers(Listen(port=0)) as listener:
        assert open_in_worker(listener, Listen(port=0)) is listener


def test_what_a_predecessor_only_kept_listens_again() -> None:
    with open_for_callers(Listen(port=0, reuse_port=True)) as keeper:
        assert open_for_callers(Listen(port=0), keeper) is keeper
        socket.create_connection(keeper.getsockname()).close()
