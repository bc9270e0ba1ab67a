"""The acceptor on real sockets: limits, descriptors, its last queue, and what it costs the loop."""

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fastpath.door.accept import Acceptor, descriptors_for_callers
from scheduler.clock import ManualClock
from tests.door.conftest import Certificate, until

pytestmark = pytest.mark.alone


class Keeper(asyncio.Protocol):
    """Keeps the transports of all connections."""

    def __init__(self, among: "list[Any]") -> None:
        self._among = among

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._among.append(transport)


class Stage:
    """An acceptor, its connections, and callers."""

    def __init__(self, limit: int = 1000, **more: Any) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.served: list[Any] = []
        self.limit = limit
        self.said: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.said.append(context["message"]))
        self.clock = ManualClock()
        self.acceptor = Acceptor(
            self.listener.dup(), lambda: Keeper(self.served), lambda: self.limit - len(self.served), self.clock, **more
        )
        self.callers: list[socket.socket] = []
        self.acceptor.resume()

    def call(self, count: int = 1) -> None:
        """These connect, as far as the kernel is concerned."""
        for _ in range(count):
            self.callers.append(socket.create_connection(self.listener.getsockname()))

    def close(self) -> None:
        self.acceptor.close()
        self.acceptor.abort()
        for one in [*self.served, *self.callers, self.listener]:
            one.close()


@contextmanager
def stage(**more: Any) -> Iterator[Stage]:
    made = Stage(**more)
    try:
        yield made
    finally:
        made.close()


async def settle() -> None:
    """Many turns of the loop, in which nothing more may happen."""
    for _ in range(50):
        await asyncio.sleep(0.001)


async def test_all_callers_of_a_flood_are_served() -> None:
    with stage() as it:
        it.call(120)
        await until(lambda: len(it.served) == 120 and it.acceptor.opening == 0)
        assert not it.said


async def test_a_connection_makes_no_task() -> None:
    with stage() as it:
        before = asyncio.all_tasks()
        made: list[object] = []
        asyncio.get_running_loop().set_task_factory(lambda loop, coro, **_: made.append(coro))
        it.call(20)
        turn = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, turn.set)
        await turn.wait()
        asyncio.get_running_loop().set_task_factory(None)
        assert len(it.served) == 20
        assert not made
        assert asyncio.all_tasks() == before


async def test_at_the_limit_callers_wait_and_are_served_when_others_have_gone() -> None:
    with stage(limit=2) as it:
        it.call(5)
        await until(lambda: len(it.served) == 2)
        await settle()
        assert len(it.served) == 2
        it.limit = 4
        it.acceptor.resume()
        await until(lambda: len(it.served) == 4)
        it.limit = 5
        it.acceptor.resume()
        await until(lambda: len(it.served) == 5)


async def test_callers_leave_descriptors_for_others() -> None:
    lowest = os.dup(0)
    os.close(lowest)
    with stage(ceiling=lowest + 40) as it:
        it.call(10)
        await until(lambda: len(it.served) >= 1)
        it.call(10)
        await until(lambda: it.said)
        taken = len(it.served)
        assert 1 <= taken < 20
        for _ in range(20):
            it.acceptor.resume()
            await asyncio.sleep(0)
        await settle()
        assert len(it.served) <= taken + 1
        (line,) = it.said
        assert "raise the limit of open files" in line
        for one in it.callers[:10]:
            one.close()
        for one in list(it.served):
            one.abort()
        it.served.clear()

        def rest_served() -> bool:
            it.acceptor.resume()
            return len(it.served) >= 20 - taken - 1

        await until(rest_served)


@contextmanager
def few_descriptors(more: int) -> Iterator[None]:
    """The kernel gives this process so many further descriptors."""
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_descriptors_callers_wait_and_nothing_spins() -> None:
    with stage() as it:
        it.call(3)
        await until(lambda: len(it.served) == 3)
        loop = asyncio.get_running_loop()
        for _ in range(5):
            caller = socket.socket()
            it.callers.append(caller)
        with few_descriptors(0):
            for caller in it.callers[3:]:
                caller.connect(it.listener.getsockname())
            await until(lambda: it.said)
            tries = 0
            real = it.acceptor._listener

            class Counting:
                def accept(self) -> Any:
                    nonlocal tries
                    tries += 1
                    return real.accept()

                def __getattr__(self, name: str) -> Any:
                    return getattr(real, name)

            it.acceptor._listener = Counting()
            await settle()
            assert tries == 0
            for _ in range(10):
                it.acceptor.resume()
            await settle()
            assert tries == 0
            assert len(it.served) == 3
            it.acceptor._listener = real
        it.clock.advance(0.1)
        it.acceptor.resume()
        await until(lambda: len(it.served) == 8)
        assert len(it.said) == 1
        assert loop.is_running()


async def test_the_last_queue_is_served_when_asked() -> None:
    for empty, expected in ((True, 7), (False, 0)):
        with stage() as it:
            it.acceptor.pause()
            it.call(7)
            it.acceptor.close(empty=empty)
            await settle()
            assert len(it.served) == expected
            it.acceptor.resume()


async def test_a_handshake_that_fails_or_hangs_is_no_error_and_leaves_nothing(certificate: Certificate) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.settings.cert, certificate.settings.key)
    with stage(tls=context) as it:
        it.call(3)
        await until(lambda: it.acceptor.opening == 3)
        it.callers[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
        it.callers[1].close()
        await until(lambda: it.acceptor.opening == 1)
        assert it.callers[0].recv(100)[:1] in (b"\x15", b"")
        it.acceptor.abort()
        assert it.acceptor.opening == 0
        it.callers[2].settimeout(5)
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, it.callers[2].recv, 1) == b""
        assert not it.served
        assert not it.said


def test_a_quarter_of_the_descriptors_is_kept() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert descriptors_for_callers() == soft * 3 // 4


@pytest.mark.parametrize("unlimited", [resource.RLIM_INFINITY])
def test_no_limit_is_no_ceiling(monkeypatch: pytest.MonkeyPatch, unlimited: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (unlimited, unlimited))
    assert descriptors_for_callers() > 1 << 40
