"""The mock model server as an object: start, script, look at the records, close."""

import asyncio
import ssl
from collections.abc import Sequence
from typing import IO

from backends.mock.connection import Connection
from backends.mock.engine import Engine, make_script
from backends.mock.fault import Fault
from backends.mock.options import MockOptions
from backends.mock.record import Record
from scheduler.clock import Clock

BACKLOG = 4096


class MockServer:
    """A model server on a socket. `log`, when given, receives one JSON line per finished request."""

    def __init__(self, options: MockOptions, clock: Clock, log: IO[bytes] | None = None) -> None:
        self._engine = Engine(options, clock, log)
        self._connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> int:
        """Listens and returns the port (a free one for 0). Raises OSError when the address is taken."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._accept, host, port, backlog=BACKLOG, ssl=tls)
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stops listening, breaks what is open (closed_by "server") and waits for it."""
        if self._listener is not None:
            self._listener.close()
        tasks = [task for connection in list(self._connections) if (task := connection.shut()) is not None]
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # lets the transports report that they are closed

    @property
    def records(self) -> list[Record]:
        """Finished requests since the start or the last reset, in the order in which they ended."""
        return list(self._engine.book.records)

    @property
    def live(self) -> list[Record]:
        """Records of the requests that are being read or answered."""
        return list(self._engine.live.values())

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return self._engine.slots.running

    async def wait_records(self, count: int) -> list[Record]:
        """The records, once `count` requests have finished since the start or the last reset."""
        await self._engine.book.wait(count)
        return self.records

    def script(self, faults: Sequence[Fault], times: int | None = None, path: str | None = None) -> None:
        """Sets the faults of the next `times` requests (None: all), see Script; replaces an earlier script."""
        self._engine.set_script(make_script(faults, times, path))

    def reset(self) -> None:
        """Forgets script, records, prefix cache and counters."""
        self._engine.reset()

    def _accept(self) -> Connection:
        return Connection(self._engine, self._connections)
