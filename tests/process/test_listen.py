"""Listening sockets and the plain words when one cannot be had."""

import socket

import pytest

from fastpath.process.listen import ListenError, open_listener, url_of


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
