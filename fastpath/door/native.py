"""The native door: HTTP/1.1 on asyncio transports in compiled code. The default for plaintext; TLS when asked for.

Owns the set of connections, their deadlines and their age; how they are accepted is `accept`, what happens on one is
`_native.door`. Bound to one loop; no Task, Future or timer per request.
"""

import asyncio
import math
import socket
from collections.abc import Callable
from email.utils import formatdate
from typing import cast

from _native.door import CallerConnection, CallerExchange, Exchange
from _native.http1 import FieldNames
from _native.transport import Poller
from fastpath import errors
from fastpath.door.accept import Acceptor
from fastpath.door.exchange import FIELDS_READ
from fastpath.door.overload import ALWAYS_SERVED, refusals
from fastpath.door.proxy_protocol import ProxyFront
from fastpath.door.tls import server_context
from fastpath.errors import GatewayError, Header
from fastpath.identity.client import ClientAddress
from fastpath.settings import Listen
from scheduler.clock import Clock

#: Seconds a request head may take, and a connection may stay idle between requests.
HEAD_LIMIT = 10.0
IDLE_LIMIT = 75.0
#: Seconds after which a connection takes no further request, and the part by which it differs from one to the next:
#: callers spread over new workers, and those that came together do not come back together.
MAX_AGE = 3600.0
AGE_SPREAD = 0.1
#: Seconds between two looks at ages, and those that a connection has for a last request once it is to end: one that is
#: new or was just in use may have sent it before it could know.
AGE_EVERY = 1.0
LAST_CHANCE = 0.25
#: Bytes the kernel may hold unsent per connection before it reports no room: a stalled reader then costs little.
NOTSENT_LOWAT = 16 * 1024
HIGH_WATER = 64 * 1024


#: Records bytes that never became a request; gives the answer's header fields and body.
Malformed = Callable[[GatewayError, str], tuple[list[Header], bytes]]
#: Records requests that were turned away unread, as (request id, caller's address).
Shed = Callable[[list[tuple[str, str]]], None]


def tune(listener: socket.socket, stall: float) -> None:
    """Options that a TCP connection inherits from the socket it was accepted on. stall: see `NativeDoor.start`."""
    if listener.family != socket.AF_UNIX:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall * 1000))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)


class NativeDoor:
    """Serves one listening socket and begins an Exchange per request. `random` gives numbers from 0 to 1.

    Without `shed` nobody is turned away when too many come.
    """

    def __init__(
        self,
        begin: Callable[[Exchange], None],
        malformed: Malformed,
        listen: Listen,
        clock: Clock,
        random: Callable[[], float],
        poller: Poller | None = None,
        shed: Shed | None = None,
    ) -> None:
        self.begin: Callable[[CallerExchange], None] = begin
        self.fields_read = FieldNames(FIELDS_READ)
        self._malformed = malformed
        self._listen = listen
        self.clock = clock
        self._random = random
        self._poller = poller
        self._shed = shed
        self.date = b""
        self.high_water = HIGH_WATER
        self._connections: dict[CallerConnection, float] = {}  # and when each is too old
        self._ages_seen = -math.inf
        self._stopping = False
        self._acceptor: Acceptor | None = None
        self._front: ProxyFront | None = None
        self._stopped: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._renew_date()

    async def start(self, listener: socket.socket, stall: float) -> None:
        """Accepts on `listener`. stall: seconds after which the kernel drops a caller that takes nothing.

        Raises SettingsError when the certificate cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self._stopped = self._loop.create_future()
        tls = server_context(self._listen.tls) if self._listen.tls is not None else None
        tune(listener, stall)
        if self._listen.proxy_protocol:
            self._front = ProxyFront(ClientAddress(self._listen.trusted_proxies).trusts)
            await self._front.start(listener)
            listener = self._front.inner
            tune(listener, stall)
        # A compiled class cannot inherit from asyncio.Protocol; it has all of its methods.
        protocol = cast("Callable[[], asyncio.Protocol]", lambda: CallerConnection(self))
        self._acceptor = Acceptor(
            listener.dup(),
            protocol,
            self._room,
            self.clock,
            poller=self._poller,
            tls=tls,
            turned_away=self._on_turned_away,
        )
        self._set_answers()
        self._acceptor.resume()

    def stop_accepting(self) -> None:
        """Closes the listener and idle connections; running requests go on.

        Connections that are new or were just in use have LAST_CHANCE for one more request, as have callers in the queue
        of a socket of our own (`reuse_port`), which are taken first.
        """
        if self._front is not None:
            self._front.stop_accepting()
        for connection in list(self._connections):
            connection.stop(LAST_CHANCE)
        if self._acceptor is not None and not self._stopping:
            self._stopping = True
            self._acceptor.close(empty=self._listen.reuse_port)
        self._note_end()

    @property
    def expecting(self) -> bool:
        """Whether a caller may still send a request, or has not sent all of it."""
        return any(connection.expecting for connection in self._connections)

    async def stopped(self) -> None:
        """Returns once every connection has ended."""
        if self._stopped is not None:
            await asyncio.wait((self._stopped,))

    def close(self) -> None:
        """Cuts what is still open."""
        if self._front is not None:
            self._front.close()
        if self._acceptor is not None:
            self._acceptor.abort()
        for connection in list(self._connections):
            connection.abort()

    def sweep(self, now: float) -> None:
        """Enforces the callers' deadlines; called every 100 ms."""
        self._renew_date()
        if self._acceptor is not None:
            self._acceptor.resume()
            self._acceptor.ease()
        for connection in list(self._connections):
            connection.sweep(now, HEAD_LIMIT, IDLE_LIMIT)
        if self._stopping:
            self._note_end()
        elif now - self._ages_seen >= AGE_EVERY:
            self._ages_seen = now
            self._stop_old(now)

    # -- what connections ask

    def peer(self, address: tuple[str, int]) -> str:
        """The address of a connection's other end; behind a ProxyFront, what the PROXY header said."""
        return address[0] if self._front is None else self._front.addresses.get(address[1], "")

    def opened(self, connection: CallerConnection) -> None:
        spread = 1 + AGE_SPREAD * (2 * self._random() - 1)
        self._connections[connection] = self.clock.monotonic() + MAX_AGE * spread
        if self._stopping:
            connection.stop(LAST_CHANCE)

    def closed(self, connection: CallerConnection) -> None:
        self._connections.pop(connection, None)
        if self._acceptor is not None:
            self._acceptor.resume()
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

    def judge(self, data: bytes, peer: str) -> bytes | None:
        """The answer to a caller who came while there was too much, and sends this now; None to serve it."""
        found = self._acceptor.judge(data) if self._acceptor is not None else None
        if found is None or self._shed is None:
            return None
        self._shed([(found[0], peer)])
        return found[1]

    def _on_turned_away(self, callers: list[tuple[str, tuple[str, int]]]) -> None:
        if self._shed is not None:
            self._shed([(request_id, self.peer(address)) for request_id, address in callers])

    def _set_answers(self) -> None:
        if self._acceptor is not None and self._shed is not None:
            self._acceptor.set_answers(ALWAYS_SERVED, refusals(self.date))

    def _room(self) -> int:
        return self._listen.max_connections - len(self._connections)

    def _stop_old(self, now: float) -> None:
        """Those past their age: an idle one is closed, a running answer is told to be the last where that is still
        possible."""
        for connection in [connection for connection, end in self._connections.items() if now >= end]:
            connection.stop(LAST_CHANCE)

    def _note_end(self) -> None:
        if not self._stopping or self._connections or self._stopped is None or self._stopped.done():
            return
        if self._acceptor is None or not self._acceptor.opening:
            self._stopped.set_result(None)

    def _renew_date(self) -> None:
        date = b"date: " + formatdate(self.clock.now(), usegmt=True).encode() + b"\r\n"
        if date != self.date:
            self.date = date
            self._set_answers()
