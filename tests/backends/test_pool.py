"""The keep-alive pool on real sockets: reuse, its bound, who waits how long, and what is replaced unseen."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest

from backends.base import Cause, Moment
from backends.http.pool import Waiting

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


async def turns(count: int = 5) -> None:
    """Lets callbacks run that are ready."""
    for _ in range(count):
        await asyncio.sleep(0)


async def refused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_connection_is_used_again(line: Any, server: Any) -> None:
    one = line()
    for _ in range(5):
        await one.exchange()
    assert len(server.peers) == 1
    assert one.pool.open == 1


async def test_the_newest_idle_connection_is_used_first(line: Any, server: Any) -> None:
    one = line()
    calls = [one.call() for _ in range(2)]
    for number, (_, taker) in enumerate(calls):
        peer = await server.peer(number)
        await peer.request()
        peer.write(OK)
        assert await taker.end() is None
        one.clock.advance(1.0)
    await one.exchange(1)
    assert len(server.peers) == 2


async def test_idle_connections_are_dropped_in_time(line: Any, server: Any) -> None:
    one = line(deadlines={"pool_idle": 4.0})
    await one.exchange()
    one.pass_time(3.9)
    assert server.open == 1
    one.pass_time(0.2)
    await server.peers[0].gone()
    await one.exchange(1)


async def test_an_old_connection_is_not_used_between_sweeps(line: Any, server: Any) -> None:
    one = line(deadlines={"pool_idle": 4.0})
    await one.exchange()
    one.clock.advance(4.1)
    await one.exchange(1)


async def test_never_more_sockets_than_allowed(line: Any, server: Any) -> None:
    one = line(max_connections=3)
    takers = [one.call()[1] for _ in range(20)]
    served = 0
    while served < 20:
        await server.until(lambda: any(b"\r\n\r\n" in peer.received for peer in server.peers))
        assert server.open <= 3
        for peer in server.peers:
            if b"\r\n\r\n" in peer.received:
                peer.received = b""
                peer.write(OK)
                served += 1
    assert [await taker.end() for taker in takers] == [None] * 20
    assert len(server.peers) == 3


class Follower(Waiting):
    """Wants a connection, and asks for one more as soon as it has one."""

    def __init__(self, line: Any) -> None:
        self.line = line
        self.connection: Any = None
        self.second: Any = None

    def attach(self, connection: Any) -> None:
        self.connection = connection
        _, self.second = self.line.call()

    def unconnected(self, error: Exception) -> None:
        raise error


async def test_no_call_waits_while_a_connection_could_be_opened(line: Any, server: Any) -> None:
    """A connection that was just opened counts once, not once more until its task is cleared away."""
    one = line(max_connections=2)
    follower = Follower(one)
    one.pool.acquire(follower)
    peer = await server.peer(1)
    await peer.request()
    peer.write(OK)
    assert await follower.second.end() is None


async def test_a_full_pool_queues_as_long_as_a_connect_may_take(line: Any, server: Any) -> None:
    one = line(max_connections=1, deadlines={"connect": 1.0})
    _, first = one.call()
    await (await server.peer()).request()
    _, second = one.call()
    one.pass_time(0.9)
    assert not second.ends
    one.pass_time(0.2)
    error = await second.end()
    assert (error.cause, error.moment) == (Cause.POOL_FULL, Moment.CONNECT)
    assert not first.ends
    server.peers[0].write(OK)
    assert await first.end() is None
    await one.exchange()


async def test_who_waits_is_served_in_order(line: Any, server: Any) -> None:
    one = line(max_connections=1)
    takers = [one.call()[1] for _ in range(4)]
    peer = await server.peer()
    for number, taker in enumerate(takers):
        await peer.request()
        assert [bool(t.ends) for t in takers] == [i < number for i in range(4)]
        peer.write(OK)
        await taker.end()


async def test_a_waiting_call_may_leave(line: Any, server: Any) -> None:
    one = line(max_connections=1)
    _, first = one.call()
    left, silent = one.call()
    _, third = one.call()
    left.cancel()
    peer = await server.peer()
    for taker in (first, third):
        await peer.request()
        peer.write(OK)
        assert await taker.end() is None
    assert silent.ends == []


async def test_a_lost_connection_makes_room_for_who_waits(line: Any, server: Any) -> None:
    one = line(max_connections=1)
    _, first = one.call()
    _, second = one.call()
    peer = await server.peer()
    await peer.request()
    peer.transport.abort()
    error = await first.end()
    assert (error.cause, error.moment) == (Cause.DISCONNECTED, Moment.HEAD)
    peer = await server.peer(1)
    await peer.request()
    peer.write(OK)
    assert await second.end() is None


async def test_a_failed_connect_makes_room_for_who_waits(line: Any, server: Any) -> None:
    one = line("model.test", max_connections=1)
    one.names.answers["model.test"] = OSError("no such name")
    one.names.gate = asyncio.Event()
    _, first = one.call()
    _, second = one.call()
    one.names.gate.set()
    for taker in (first, second):
        error = await taker.end()
        assert (error.cause, error.moment) == (Cause.DNS, Moment.CONNECT)
    await turns()
    assert one.pool.open == 0


async def test_whatever_goes_wrong_while_connecting_ends_the_call(line: Any, server: Any) -> None:
    one = line("model.test", max_connections=1)
    one.names.answers["model.test"] = UnicodeError("label too long")
    _, first = one.call()
    error = await first.end()
    assert error.moment is Moment.CONNECT
    one.names.answers["model.test"] = ["127.0.0.1"]
    await one.exchange()


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_server_that_closes_on_accept(line: Any, server: Any, how: str) -> None:
    """Whichever comes first, the end or our request: the call fails at once and nothing is left behind."""
    one = line(max_connections=1)
    server.greeting = lambda peer: getattr(peer.transport, how)()
    for _ in range(20):
        _, taker = one.call()
        error = await taker.end()
        assert error.cause is Cause.DISCONNECTED
    server.greeting = None
    await turns()
    assert one.pool.open == 0
    await one.exchange(20)


async def test_a_server_that_closed_before_we_looked(line: Any, server: Any, monkeypatch: Any) -> None:
    """The connection is lost between being made and being handed over."""
    one = line(max_connections=1)
    connect = one.pool._connector._connect_to

    async def connect_late(address: str, pool: Any) -> Any:
        connection = await connect(address, pool)
        server.peers[-1].transport.abort()
        async with asyncio.timeout(30):
            while not connection.closed:
                await asyncio.sleep(0)
        return connection

    monkeypatch.setattr(one.pool._connector, "_connect_to", connect_late)
    _, taker = one.call()
    assert (await taker.end()).moment is Moment.CONNECT
    await turns()
    assert one.pool.open == 0


async def test_a_kept_connection_that_died_is_replaced_unseen(line: Any, server: Any) -> None:
    one = line(max_connections=1)
    await one.exchange()
    _, taker = one.call()
    peer = server.peers[0]
    await peer.request()
    peer.transport.abort()
    fresh = await server.peer(1)
    assert b"POST /v1/chat/completions" in await fresh.request()
    assert taker.ends == []
    fresh.write(OK)
    assert await taker.end() is None


async def test_what_must_not_be_repeated_is_not_sent_again(line: Any, server: Any) -> None:
    """It may have been read, and be stored there."""
    one = line()
    await one.exchange()
    _, taker = one.call(repeatable=False)
    peer = server.peers[0]
    await peer.request()
    peer.transport.abort()
    error = await taker.end()
    assert (error.cause, error.moment) == (Cause.DISCONNECTED, Moment.HEAD)
    await turns()
    assert len(server.peers) == 1


async def test_it_is_replaced_only_once(line: Any, server: Any) -> None:
    one = line()
    await one.exchange()
    _, taker = one.call()
    for number in range(2):
        peer = await server.peer(number)
        await peer.request()
        peer.transport.abort()
    assert (await taker.end()).cause is Cause.DISCONNECTED
    await turns()
    assert len(server.peers) == 2


async def test_not_once_a_byte_has_come(line: Any, server: Any) -> None:
    one = line()
    await one.exchange()
    _, taker = one.call()
    peer = server.peers[0]
    await peer.request()
    peer.write(b"H")
    await turns(20)
    peer.transport.close()
    error = await taker.end()
    assert (error.cause, error.moment) == (Cause.DISCONNECTED, Moment.HEAD)
    assert len(server.peers) == 1


async def test_a_fresh_connection_that_dies_is_a_failure(line: Any, server: Any) -> None:
    one = line()
    _, taker = one.call()
    peer = await server.peer()
    await peer.request()
    peer.transport.close()
    assert (await taker.end()).cause is Cause.DISCONNECTED
    assert len(server.peers) == 1


async def test_bytes_nobody_asked_for_end_a_connection(line: Any, server: Any) -> None:
    one = line()
    await one.exchange()
    server.peers[0].write(OK)
    await server.peers[0].gone()
    await one.exchange(1)


async def test_bytes_behind_an_answer_end_a_connection(line: Any, server: Any) -> None:
    one = line()
    _, taker = one.call()
    peer = await server.peer()
    await peer.request()
    peer.write(OK + b"HTTP/1.1 200 OK\r\n")
    assert await taker.end() is None
    await peer.gone()
    await one.exchange(1)


async def test_all_addresses_are_tried(line: Any, server: Any) -> None:
    one = line("model.test", deadlines={"connect": 4.0})
    one.names.answers["model.test"] = ["127.0.0.2", "127.0.0.3", "127.0.0.1", "127.0.0.4"]
    for number in range(4):
        _, taker = one.call()
        peer = await server.peer(number)
        await peer.request()
        peer.write(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        assert await taker.end() is None


async def test_every_silent_address_gets_an_equal_share_of_the_time(line: Any, monkeypatch: Any) -> None:
    one = line("model.test", deadlines={"connect": 2.0})
    one.names.answers["model.test"] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    limits: list[float] = []

    class Limit:
        """asyncio.timeout on the test's clock: the name is there at once, every address says nothing."""

        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None: ...

    async def silent(address: str, pool: Any) -> Any:
        limits.append(made[-1].seconds)
        one.clock.advance(made[-1].seconds)
        raise TimeoutError

    made: list[Limit] = []

    def limit(seconds: float) -> Limit:
        made.append(Limit(seconds))
        return made[-1]

    monkeypatch.setattr(one.pool._connector, "_connect_to", silent)
    monkeypatch.setattr("backends.http.connector.asyncio.timeout", limit)
    _, taker = one.call()
    await turns(50)
    monkeypatch.undo()
    (error,) = taker.ends
    assert error.cause is Cause.CONNECT_TIMEOUT
    assert limits == pytest.approx([0.5] * 4)


@pytest.fixture
async def deaf_port() -> AsyncIterator[int]:
    """A port whose queue is full: connections to it neither open nor fail."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        port: int = listener.getsockname()[1]
        for _ in range(4):
            channel = stack.enter_context(socket.socket())
            channel.setblocking(False)
            channel.connect_ex(("127.0.0.1", port))
        yield port


@pytest.mark.parametrize("how", ["in time", "cancelled", "closed"])
async def test_a_connection_that_never_opens_leaves_no_socket(line: Any, server: Any, deaf_port: int, how: str) -> None:
    server.port, before = deaf_port, len(os.listdir("/proc/self/fd"))
    one = line(deadlines={"connect": 0.1 if how == "in time" else 60.0})
    handle, taker = one.call()
    await turns()
    assert (one.pool.open, len(os.listdir("/proc/self/fd"))) == (1, before + 1)
    if how == "in time":
        assert (await taker.end()).cause is Cause.CONNECT_TIMEOUT
    elif how == "cancelled":
        handle.cancel()
        assert one.pool.open == 1, "another may want it"
        await one.backend.close()
    else:
        await one.backend.close()
    await turns()
    assert (one.pool.open, len(os.listdir("/proc/self/fd"))) == (0, before)


#: Prints how many threads are started to open a connection.
OPENS_ONE = """
import asyncio, os, sys, uvloop
from _native.transport import Poller
from backends.base import EndpointSpec
from backends.http.connector import Connector
from backends.http.resolver import AresQuery, Resolver
from scheduler.clock import SystemClock
from urllib.parse import urlsplit

async def main():
    url = "http://127.0.0.1:" + sys.argv[1]
    clock, poller = SystemClock(), Poller(asyncio.get_running_loop())
    resolver = Resolver(AresQuery(()), clock)
    before = len(os.listdir("/proc/self/task"))
    await Connector(EndpointSpec("e", url), urlsplit(url), resolver, clock, None, poller).connect(None)
    print(len(os.listdir("/proc/self/task")) - before)
    poller.close()

uvloop.run(main())
"""


def test_opening_a_connection_starts_no_thread() -> None:
    """uvloop's own sock_connect asks four of them for the name of every number: 175 us a connection, measured."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", OPENS_ONE, str(listener.getsockname()[1])]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
    assert done.stdout == "0\n"


async def test_refused_everywhere(line: Any, server: Any) -> None:
    one = line("model.test")
    one.names.answers["model.test"] = ["127.0.0.2", "127.0.0.3"]
    _, taker = one.call()
    error = await taker.end()
    assert (error.cause, error.moment) == (Cause.CONNECT, Moment.CONNECT)


async def test_closing_ends_what_is_idle_and_what_comes_back(line: Any, server: Any) -> None:
    one = line()
    _, taker = one.call()
    busy = await server.peer()
    await busy.request()
    await one.exchange(1)
    await one.pool.close()
    await server.peers[1].gone()
    busy.write(OK)
    assert await taker.end() is None
    await busy.gone()
