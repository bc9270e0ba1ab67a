"""What the native door does around its connections: options, age, Unix sockets, TLS, and its end."""

import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from _native.relay import Source
from fastpath.door.native import LAST_CHANCE, MAX_AGE, NOTSENT_LOWAT
from fastpath.door.tls import server_context
from fastpath.process.listen import UnixListener
from fastpath.settings import Tls
from fastpath.settings.problem import SettingsError
from tests.door.conftest import HEAD, Caller, Certificate, Front, OpenFront, until


def accepted_sockets(caller: Caller) -> list[socket.socket]:
    """The door's ends of this caller's connection, found among this process's descriptors."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            one = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        try:
            matches = one.getpeername() == caller.name
        except OSError:
            matches = False
        found.append(one) if matches else one.close()
    return found


async def test_accepted_connections_have_the_options(open_front: OpenFront) -> None:
    front = await open_front(stall=7.5)
    caller = await front.call()
    await caller.ask()
    (served,) = accepted_sockets(caller)
    with served:
        options = {
            name: served.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_NODELAY", "TCP_USER_TIMEOUT", "TCP_NOTSENT_LOWAT")
        }
        assert options == {"TCP_NODELAY": 1, "TCP_USER_TIMEOUT": 7500, "TCP_NOTSENT_LOWAT": NOTSENT_LOWAT}
        assert not served.get_inheritable()


async def keep_asking(front: Front, callers: list[Caller], seconds: float) -> None:
    """Time goes by, in which none of these is ever idle for long."""
    end = front.clock.monotonic() + seconds
    while (left := end - front.clock.monotonic()) > 0:
        front.tick(min(60.0, left))
        for caller in callers:
            assert b"connection: close" not in await caller.ask()


async def test_connections_end_at_their_age_which_differs_between_them(open_front: OpenFront) -> None:
    front = await open_front()
    callers = []
    for random in (0.0, 0.5, 1.0):
        front.random[0] = random
        callers.append(await front.call())
        await callers[-1].ask()
    passed = 0.0
    for factor in (0.9, 1.0, 1.1):
        await keep_asking(front, callers, MAX_AGE * factor - 1 - passed)
        front.tick(2)
        passed = MAX_AGE * factor + 1
        assert await callers.pop(0).rest() == b""


async def test_a_running_answer_outlives_its_age_and_is_the_last(open_front: OpenFront) -> None:
    front = await open_front()
    front.holding = True
    caller = await front.call()
    caller.send()
    await until(lambda: front.held)
    front.tick(2 * MAX_AGE)
    front.release()
    head = await caller.head()
    assert head.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in head
    assert await caller.rest() == b""


async def test_callers_over_a_unix_socket_have_no_address(open_front: OpenFront, tmp_path: Path) -> None:
    front = await open_front(UnixListener.open(str(tmp_path / "door"), 0o600, 16))
    caller = await front.call()
    assert (await caller.ask()).startswith(b"HTTP/1.1 200")
    assert front.peers == [""]


async def test_tls_is_1_3_and_http_1_1(open_front: OpenFront, certificate: Certificate) -> None:
    front = await open_front(tls=certificate.settings, door="native")
    certificate.trusting.set_alpn_protocols(["h2", "http/1.1"])
    caller = await front.call(certificate.trusting)
    assert (await caller.ask()).startswith(b"HTTP/1.1 200")
    assert (await caller.ask()).startswith(b"HTTP/1.1 200")
    session = caller.writer.get_extra_info("ssl_object")
    assert session.version() == "TLSv1.3"
    assert session.selected_alpn_protocol() == "http/1.1"
    assert front.peers == ["127.0.0.1", "127.0.0.1"]


async def test_tls_1_2_is_refused(open_front: OpenFront, certificate: Certificate) -> None:
    front = await open_front(tls=certificate.settings, door="native")
    old = ssl.create_default_context()
    old.check_hostname, old.verify_mode, old.maximum_version = False, ssl.CERT_NONE, ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await front.call(old)
    assert (await (await front.call(certificate.trusting)).ask()).startswith(b"HTTP/1.1 200")


async def test_a_large_answer_arrives_whole_over_tls(open_front: OpenFront, certificate: Certificate) -> None:
    front = await open_front(tls=certificate.settings, door="native")
    front.holding = True
    caller = await front.call(certificate.trusting)
    caller.send(b"GET / HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n")
    await until(lambda: front.held)
    body = os.urandom(3 << 20)
    front.held.pop().reply(200, [], body)
    assert (await caller.rest()).partition(b"\r\n\r\n")[2] == body


async def test_while_it_stops_answers_end_idle_callers_go_and_none_is_added(open_front: OpenFront) -> None:
    front = await open_front()
    idle, busy = await front.call(), await front.call()
    await idle.ask()
    front.clock.advance(LAST_CHANCE)
    front.holding = True
    busy.send()
    await until(lambda: front.held)
    front.door.stop_accepting()
    front.listener.close()
    assert await idle.rest() == b""
    front.tick()
    front.release()
    assert b"connection: close" in await busy.head()
    assert await busy.rest() == b""
    async with asyncio.timeout(30):
        await front.door.stopped()


@pytest.mark.parametrize("asked_before", [False, True], ids=["new", "just-used"])
@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asks"])
async def test_who_may_have_sent_a_request_has_a_last_chance(
    open_front: OpenFront, asked_before: bool, asks: bool
) -> None:
    front = await open_front()
    caller = await front.call()
    if asked_before:
        await caller.ask()
        front.tick(LAST_CHANCE - 0.1)
    else:
        await until(lambda: front.door._connections)
    front.door.stop_accepting()
    front.door.stop_accepting()
    front.listener.close()
    assert front.door.expecting
    front.tick(LAST_CHANCE - 0.05)
    assert front.door.expecting
    if asks:
        assert b"connection: close" in await caller.ask()
    else:
        front.tick(0.1)
    assert await caller.rest() == b""
    assert not front.door.expecting
    async with asyncio.timeout(30):
        await front.door.stopped()


async def test_a_request_that_is_arriving_is_expected(open_front: OpenFront) -> None:
    front = await open_front()
    caller = await front.call()
    caller.send(HEAD + HEAD[:10])
    await caller.head()
    front.tick(1.0)
    front.door.stop_accepting()
    front.listener.close()
    front.tick(LAST_CHANCE + 0.1)
    assert front.door.expecting
    caller.send(HEAD[10:])
    assert b"connection: close" in await caller.head()
    assert await caller.rest() == b""


async def test_a_request_that_waits_its_turn_is_not_dropped_by_the_end(open_front: OpenFront) -> None:
    """Two came at once; the door stops between their answers."""
    front = await open_front()
    front.holding = True
    caller = await front.call()
    caller.send(HEAD + HEAD)
    await until(lambda: front.held)
    front.tick(1.0)
    front.release()
    front.tick(1.0)
    front.door.stop_accepting()
    front.listener.close()
    assert b"connection: close" not in await caller.head()
    assert b"connection: close" in await caller.head()
    assert await caller.rest() == b""
    assert len(front.peers) == 2


class Faucet(Source):
    """A source that notes when it is held back."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def pause(self) -> None:
        self.said.append("pause")

    def resume(self) -> None:
        self.said.append("resume")

    def cancel(self) -> None:
        self.said.append("cancel")


async def test_an_answer_behind_one_that_is_not_read_is_held_back_too(open_front: OpenFront) -> None:
    front = await open_front()
    front.holding = True
    caller = await front.call()
    caller.writer.transport.pause_reading()
    caller.send(HEAD)
    await until(lambda: front.held)
    front.held.pop().reply(200, [], bytes(16 << 20))
    caller.send(HEAD)
    await until(lambda: front.held)
    second, faucet = front.held.pop(), Faucet()
    assert second.stalled_since is not None
    sink = second.stream(200, [], faucet)
    assert faucet.said == ["pause"]
    caller.writer.transport.resume_reading()
    await caller.head()
    await caller.reader.readexactly(16 << 20)
    await caller.head()
    assert faucet.said == ["pause", "resume"]
    assert second.stalled_since is None
    sink.finish()


async def test_a_queue_of_its_own_is_served_before_it_ends(open_front: OpenFront) -> None:
    """With reuse_port nobody else takes from the queue: closing it would reset these callers."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128, reuse_port=True)
    front = await open_front(listener, reuse_port=True)
    front.door._acceptor.pause()  # as at the limit, or under a flood
    waiting = [await front.call() for _ in range(5)]
    for caller in waiting[:4]:
        caller.send(HEAD)
    front.door.stop_accepting()
    front.listener.close()
    for caller in waiting[:4]:
        assert (await caller.head()).startswith(b"HTTP/1.1 200")
    front.tick(LAST_CHANCE + 0.1)
    for caller in waiting:
        assert await caller.rest() == b""
    async with asyncio.timeout(30):
        await front.door.stopped()


async def test_the_certificate_is_judged_before_it_accepts(open_front: OpenFront, tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        await open_front(tls=Tls(cert=none, key=none), door="native")


def test_a_key_of_another_certificate_is_refused(certificate: Certificate, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(str(other))
    with pytest.raises(SettingsError, match=r"listen\.tls: cert and key do not fit each other"):
        server_context(Tls(cert=certificate.settings.cert, key=str(other)))


def test_a_file_that_is_no_pem_is_refused(certificate: Certificate, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text("nothing of the kind")
    with pytest.raises(SettingsError, match="are not both readable as PEM"):
        server_context(Tls(cert=certificate.settings.cert, key=str(other)))
