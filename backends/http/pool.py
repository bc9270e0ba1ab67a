"""Keep-alive connections to one endpoint.

Owns keeping, reusing and closing; a call waits here for a connection at most its connect time-out. Idle connections are
dropped after `pool_idle` seconds (uvicorn, the server behind most engines, closes at 5). Single event loop.
"""

import asyncio
from collections import deque

from _native.clock import Clock
from _native.relay import Connection, Source
from backends.base import Cause, EndpointSpec, Moment, UpstreamError
from backends.http.connector import Connector


class Waiting(Source):
    """A call that wants a connection."""

    over: bool

    def attach(self, connection: Connection) -> None:
        """The connection is the call's."""
        raise NotImplementedError

    def unconnected(self, error: UpstreamError) -> None:
        """No connection could be made."""
        raise NotImplementedError


class Pool:
    """Connections of one endpoint: idle ones, those in use, and the calls that wait for one."""

    def __init__(self, spec: EndpointSpec, clock: Clock, connector: Connector) -> None:
        self._connector = connector
        self._idle_limit = spec.deadlines.pool_idle
        self._max = spec.max_connections
        self._clock = clock
        self._idle: list[Connection] = []  # the longest idle first
        self._waiting: deque[Waiting] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._live: set[Connection] = set()
        self._closed = False

    @property
    def open(self) -> int:
        """Connections that exist or are being opened."""
        return len(self._live) + len(self._opening)

    def acquire(self, call: Waiting) -> None:
        """Gives the call a connection: an idle one at once, else a new one, else the next that comes free."""
        oldest = self._clock.monotonic() - self._idle_limit
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and connection.idle_since >= oldest:
                call.attach(connection)
                return
            self._shut(connection)
        if self.open < self._max:
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
        while self._idle and (self._idle[0].closed or now - self._idle[0].idle_since > self._idle_limit):
            self._shut(self._idle.pop(0))

    def retire(self) -> None:
        """Closes what is idle now and what is in use when it comes back; calls are served on."""
        self._closed = True
        while self._idle:
            self._shut(self._idle.pop(0))

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
        while self._waiting and self.open < self._max:
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
            connection = await self._connector.connect(self)
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
