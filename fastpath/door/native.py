"""The native door: HTTP/1.1 on asyncio transports in compiled code, for plaintext and behind a mesh.

Owns listening, the set of connections, and their deadlines; what happens on a connection is `_native.door`. Bound to
one loop; no Task, Future or timer per request.
"""

import asyncio
import socket
from collections.abc import Callable
from email.utils import formatdate
from typing import cast

from _native.door import CallerConnection, CallerExchange
from fastpath import errors
from fastpath.door.exchange import Exchange
from fastpath.door.proxy_protocol import ProxyFront
from fastpath.errors import GatewayError, Header
from fastpath.identity.client import ClientAddress
from fastpath.settings import Listen
from scheduler.clock import Clock

#: Seconds a request head may take, and a connection may stay idle between requests.
HEAD_LIMIT = 10.0
IDLE_LIMIT = 75.0
#: Seconds after which an idle connection is closed whatever its traffic, so that clients spread over new workers.
MAX_AGE = 3600.0
#: Bytes the kernel may hold unsent per connection before it reports no room: a stalled reader then costs little.
NOTSENT_LOWAT = 16 * 1024
HIGH_WATER = 64 * 1024
#: Connections taken in one go, so that a flood of them leaves time for those that are served.
ACCEPT_BATCH = 64


#: Records bytes that never became a request; gives the answer's header fields and body.
Malformed = Callable[[GatewayError, str], tuple[list[Header], bytes]]


class NativeDoor:
    """Serves one listening socket and begins an Exchange per request."""

    def __init__(self, begin: Callable[[Exchange], None], malformed: Malformed, listen: Listen, clock: Clock) -> None:
        self._begin = begin
        self._malformed = malformed
        self._listen = listen
        self.clock = clock
        self.date = b""
        self.high_water = HIGH_WATER
        self._connections: set[CallerConnection] = set()
        self._listener: socket.socket | None = None
        self._accepting = False
        self._opening: set[asyncio.Task[object]] = set()
        self._front: ProxyFront | None = None
        self._stopped: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._renew_date()

    async def start(self, listener: socket.socket, stall: float) -> None:
        """Accepts on `listener`. stall: seconds after which the kernel drops a caller that takes nothing."""
        self._loop = asyncio.get_running_loop()
        self._stopped = self._loop.create_future()
        if self._listen.proxy_protocol:
            self._front = ProxyFront(ClientAddress(self._listen.trusted_proxies).trusts)
            await self._front.start(listener)
            listener = self._front.inner
        if listener.family != socket.AF_UNIX:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall * 1000))
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)
        self._listener = listener.dup()
        self._listener.setblocking(False)
        self._accept_more()

    def stop_accepting(self) -> None:
        """Closes the listener and idle connections; running requests go on."""
        if self._front is not None:
            self._front.stop_accepting()
        self._accept_no_more()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        for connection in list(self._connections):
            connection.stop()
        self._note_end()

    async def stopped(self) -> None:
        """Returns once every connection has ended."""
        if self._stopped is not None:
            await asyncio.wait((self._stopped,))

    def close(self) -> None:
        """Cuts what is still open."""
        if self._front is not None:
            self._front.close()
        for connection in list(self._connections):
            connection.abort()

    def sweep(self, now: float) -> None:
        """Enforces the callers' deadlines; called every 100 ms."""
        self._renew_date()
        self._accept_more()
        for connection in list(self._connections):
            connection.sweep(now, HEAD_LIMIT, IDLE_LIMIT, now - MAX_AGE)

    # -- what connections ask

    def peer(self, address: tuple[str, int]) -> str:
        """The address of a connection's other end; behind a ProxyFront, what the PROXY header said."""
        return address[0] if self._front is None else self._front.addresses.get(address[1], "")

    def begin(self, exchange: CallerExchange) -> None:
        self._begin(exchange)

    def opened(self, connection: CallerConnection) -> None:
        self._connections.add(connection)

    def closed(self, connection: CallerConnection) -> None:
        self._connections.discard(connection)
        if len(self._connections) == self._listen.max_connections - 1:
            self._accept_more()
        self._note_end()

    def soon(self, callback: Callable[[], None]) -> None:
        assert self._loop is not None
        self._loop.call_soon(callback)

    def too_large(self, limit: int) -> GatewayError:
        return errors.too_large(limit)

    def slow_body(self) -> GatewayError:
        return errors.slow_body()

    def broken_body(self) -> GatewayError:
        return errors.broken_body()

    def refusal(self, status: int, reason: str, peer: str) -> bytes:
        """The answer, from its header fields on, to bytes that never became a request."""
        headers, body = self._malformed(errors.bad_http(status, reason), peer)
        fields = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        return fields + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    def _accept_more(self) -> None:
        room = len(self._connections) < self._listen.max_connections
        if self._listener is not None and self._loop is not None and not self._accepting and room:
            self._accepting = True
            self._loop.add_reader(self._listener, self._accept)

    def _accept_no_more(self) -> None:
        if self._accepting and self._listener is not None and self._loop is not None:
            self._accepting = False
            self._loop.remove_reader(self._listener)

    def _accept(self) -> None:
        """Takes what waits; pauses when the limit is reached or descriptors run out (the next sweep tries again).
        Callers wait in the kernel's queue meanwhile."""
        assert self._listener is not None
        assert self._loop is not None
        for _ in range(ACCEPT_BATCH):
            if len(self._connections) + len(self._opening) >= self._listen.max_connections:
                self._accept_no_more()
                return
            try:
                channel, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:
                self._accept_no_more()
                return
            channel.setblocking(False)
            # A compiled class cannot inherit from asyncio.Protocol; it has all of its methods.
            factory = cast("Callable[[], asyncio.Protocol]", lambda: CallerConnection(self))
            task: asyncio.Task[object] = self._loop.create_task(self._loop.connect_accepted_socket(factory, channel))
            self._opening.add(task)
            task.add_done_callback(self._opened_up)

    def _opened_up(self, task: asyncio.Task[object]) -> None:
        self._opening.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that left before it was served is no error

    def _note_end(self) -> None:
        if self._listener is None and not self._connections and self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(None)

    def _renew_date(self) -> None:
        self.date = b"date: " + formatdate(self.clock.now(), usegmt=True).encode() + b"\r\n"
