"""Keep-alive connections to one endpoint.

Owns opening, reusing and closing; a call waits here for a connection at most its connect time-out. Idle connections are
dropped after `pool_idle` seconds (uvicorn, the server behind most engines, closes at 5). Single event loop.
"""

import asyncio
import socket
import ssl
from collections import deque
from typing import Protocol, cast
from urllib.parse import SplitResult

from _native.relay import Connection
from backends.base import Cause, EndpointSpec, Moment, UpstreamError
from backends.http.resolver import Resolver
from scheduler.clock import Clock

#: Kernel receive buffer per connection, bytes. Left to itself the kernel takes 4 MiB for a stream whose caller stalls.
RECEIVE_BUFFER = 128 * 1024


class Waiting(Protocol):
    """A call that wants a connection."""

    @property
    def over(self) -> bool: ...
    def attach(self, connection: Connection) -> None: ...
    def unconnected(self, error: UpstreamError) -> None: ...


class Pool:
    """Connections of one endpoint: idle ones, those in use, and the calls that wait for one."""

    def __init__(self, spec: EndpointSpec, url: SplitResult, resolver: Resolver, clock: Clock) -> None:
        self._spec = spec
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._tls = ssl.create_default_context(cafile=spec.ca_file) if url.scheme == "https" else None
        self._resolver = resolver
        self._clock = clock
        self._idle: deque[Connection] = deque()
        self._waiting: deque[Waiting] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._live: set[Connection] = set()
        self._turn = 0
        self._closed = False

    @property
    def open(self) -> int:
        """Connections that exist or are being opened."""
        return len(self._live) + len(self._opening)

    def acquire(self, call: Waiting) -> None:
        """Gives the call a connection: an idle one at once, else a new one, else the next that comes free."""
        oldest = self._clock.monotonic() - self._spec.deadlines.pool_idle
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and connection.idle_since >= oldest:
                call.attach(connection)
                return
            self._shut(connection)
        if self.open < self._spec.max_connections:
            self.open_for(call)
        else:
            self._waiting.append(call)

    def open_for(self, call: Waiting) -> None:
        """Opens a fresh connection for the call."""
        task = asyncio.get_running_loop().create_task(self._open(call))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def leave(self, call: Waiting) -> None:
        """The call no longer waits."""
        if call in self._waiting:
            self._waiting.remove(call)

    def is_waiting(self, call: Waiting) -> bool:
        return call in self._waiting

    def release(self, connection: Connection, reusable: bool) -> None:
        """An exchange on this connection is complete."""
        if not reusable or connection.transport.get_write_buffer_size():
            # In the second case the answer came early: the request is still going out.
            self._shut(connection)
            return
        self._serve_next(connection)

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""
        self._live.discard(connection)
        self._open_next()

    def sweep(self, now: float) -> None:
        """Closes connections that idled too long; called every 100 ms."""
        while self._idle and (self._idle[0].closed or now - self._idle[0].idle_since > self._spec.deadlines.pool_idle):
            self._shut(self._idle.popleft())

    def retire(self) -> None:
        """Closes what is idle now and what is in use when it comes back; calls are served on."""
        self._closed = True
        while self._idle:
            self._shut(self._idle.popleft())

    async def close(self) -> None:
        """Retires, and gives up what is being opened."""
        self.retire()
        for task in list(self._opening):
            task.cancel()

    def _serve_next(self, connection: Connection) -> None:
        while self._waiting:
            call = self._waiting.popleft()
            if not call.over:
                call.attach(connection)
                return
        if self._closed:
            self._shut(connection)
            return
        connection.idle_since = self._clock.monotonic()
        self._idle.append(connection)

    def _open_next(self) -> None:
        while self._waiting and self.open < self._spec.max_connections:
            call = self._waiting.popleft()
            if not call.over:
                self.open_for(call)

    @staticmethod
    def _shut(connection: Connection) -> None:
        """Nothing of it is wanted any more, so nobody is waited for: neither a peer's close_notify nor its reading."""
        if not connection.closed:
            connection.transport.abort()

    async def _open(self, call: Waiting) -> None:
        try:
            connection = await self._connect()
        except UpstreamError as error:
            self._not_opened(call, error)
        except Exception as error:  # whatever it was, the call must not wait for ever
            self._not_opened(call, UpstreamError(Cause.CONNECT, Moment.CONNECT, repr(error)))
        else:
            self._opened(call, connection)

    def _opened(self, call: Waiting, connection: Connection) -> None:
        if connection.transport.is_closing():
            self._not_opened(call, UpstreamError(Cause.DISCONNECTED, Moment.CONNECT, "closed as soon as it was open"))
            return
        self._opening.discard(asyncio.current_task())
        self._live.add(connection)
        if call.over:
            self._serve_next(connection)
        else:
            call.attach(connection)

    def _not_opened(self, call: Waiting, error: UpstreamError) -> None:
        self._opening.discard(asyncio.current_task())
        if not call.over:
            call.unconnected(error)
        self._open_next()

    async def _connect(self) -> Connection:
        """Tries every address, each for its share of the connect time-out."""
        deadline = self._clock.monotonic() + self._spec.deadlines.connect
        try:
            async with asyncio.timeout(self._spec.deadlines.connect):
                addresses = await self._resolver.addresses(self._host)
        except TimeoutError as error:
            raise UpstreamError(Cause.DNS, Moment.CONNECT, "name resolution timed out") from error
        except OSError as error:
            raise UpstreamError(Cause.DNS, Moment.CONNECT, str(error)) from error
        failure = UpstreamError(Cause.CONNECT_TIMEOUT, Moment.CONNECT, "no time left to connect")
        for tried, address in enumerate(self._rotated(addresses)):
            left = deadline - self._clock.monotonic()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(max(left / (len(addresses) - tried), min(left, 0.25))):
                    return await self._connect_to(address)
            except TimeoutError:
                failure = UpstreamError(Cause.CONNECT_TIMEOUT, Moment.CONNECT, f"{address} did not answer")
            except ssl.SSLError as error:
                failure = UpstreamError(Cause.TLS, Moment.CONNECT, str(error))
            except OSError as error:
                # What a server said counts for more than nobody listening on the host's other addresses.
                if failure.cause is not Cause.TLS:
                    failure = UpstreamError(Cause.CONNECT, Moment.CONNECT, str(error))
        raise failure

    async def _connect_to(self, address: str) -> Connection:
        connection = Connection(self)
        protocol = cast(asyncio.Protocol, connection)  # has its methods, but is a Source and cannot be both
        name = self._host if self._tls else None
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: protocol, address, self._port, ssl=self._tls, server_hostname=name
        )
        if not transport.is_closing():
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        return connection

    def _rotated(self, addresses: list[str]) -> list[str]:
        self._turn = (self._turn + 1) % len(addresses)
        return addresses[self._turn :] + addresses[: self._turn]
