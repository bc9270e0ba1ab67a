"""The fault proxy: a TCP forwarder whose rules can change while it runs.

Owns the listener, the open connections and their records. Does not read files or speak the control protocol.
Concurrency: one event loop (asyncio or uvloop); one task per connection, all awaited by `close`.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence

from loadtest.faultd import ending
from loadtest.faultd.connection import Connection
from loadtest.faultd.listener import Listener, limit
from loadtest.faultd.record import ConnectionRecord, FlowRecord
from loadtest.faultd.rules import AnyRule, FlowRule, How, ResetOnAccept, RuleSet
from scheduler.clock import Clock

Address = tuple[str, int]


class FaultProxy:
    """Forwards 127.0.0.1 (or `host`) to `target` (host, port). `log` receives each record once, when it is over.

    Rules are drawn when a connection opens and hold for its life; `drop` acts on those already open.
    """

    def __init__(
        self,
        target: Address,
        clock: Clock,
        log: Callable[[ConnectionRecord], None] | None = None,
        *,
        host: str = "127.0.0.1",
    ) -> None:
        self.connections: list[ConnectionRecord] = []
        """Every connection since the start, open ones included, in the order of arrival."""
        self._target = target
        self._clock = clock
        self._log = log
        self._rules = RuleSet()
        self._listener = Listener(host, self._accept)
        self._open: dict[asyncio.Task[None], Connection | None] = {}

    async def start(self, port: int = 0) -> int:
        """Listens; returns the port. Raises OSError when it is taken."""
        return self._listener.open(port)

    def set_rules(self, rules: Sequence[AnyRule], seed: int = 0) -> None:
        """Replaces all rules for connections opened from now on; restarts their count and their random."""
        self._rules = RuleSet(rules, seed)
        if self._rules.refusing:
            self._listener.refuse()
        else:
            self._listener.resume()

    @property
    def open(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    def drop(self, how: How) -> int:
        """Ends or freezes all open connections; returns how many."""
        return sum(connection.drop(how) for connection in self._open.values() if connection is not None)

    async def close(self) -> None:
        """Stops listening, closes what is open (its records keep `closed` None), waits for the tasks."""
        self._listener.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, client: socket.socket, peer: str) -> None:
        record = ConnectionRecord(
            id=len(self.connections) + 1,
            opened=self._clock.now(),
            client=peer,
            up=FlowRecord(),
            down=FlowRecord(),
        )
        self.connections.append(record)
        rules = self._rules.select()
        if any(isinstance(rule, ResetOnAccept) for rule in rules):
            self._refuse(client, record)
            return
        _prepare(client)
        task = asyncio.get_running_loop().create_task(
            self._serve(client, [rule for rule in rules if not isinstance(rule, ResetOnAccept)], record)
        )
        self._open[task] = None
        task.add_done_callback(self._forget)
        task.add_done_callback(lambda _: client.close())  # Also where it was cancelled before it ran.

    def _refuse(self, client: socket.socket, record: ConnectionRecord) -> None:
        ending.reset(client)
        record.closed_by, record.ended, record.applied = "proxy", "rst", ["reset_on_accept"]
        self._finish(record)

    async def _serve(self, client: socket.socket, rules: Sequence[FlowRule], record: ConnectionRecord) -> None:
        try:
            await self._relay(client, rules, record)
        except asyncio.CancelledError:
            self._write(record)
            raise
        finally:
            self._open.pop(self._task(), None)
        self._finish(record)

    async def _relay(self, client: socket.socket, rules: Sequence[FlowRule], record: ConnectionRecord) -> None:
        target = await self._connect()
        if target is None:
            record.closed_by, record.ended = "target", "unreachable"
            ending.reset(client)
            return
        connection = Connection((client, target), rules, self._rules.random, record, self._clock)
        self._open[self._task()] = connection
        await connection.run()

    def _task(self) -> asyncio.Task[None]:
        task = asyncio.current_task()
        assert task is not None
        return task

    async def _connect(self) -> socket.socket | None:
        loop = asyncio.get_running_loop()
        family, kind, _, _, address = (await loop.getaddrinfo(*self._target, type=socket.SOCK_STREAM))[0]
        sock = socket.socket(family, kind)
        limit(sock)
        _prepare(sock)
        try:
            await loop.sock_connect(sock, address)
        except OSError:
            sock.close()
            return None  # The record says "unreachable"; the caller is reset as it would be by a dead target.
        except asyncio.CancelledError:
            sock.close()
            raise
        return sock

    def _finish(self, record: ConnectionRecord) -> None:
        record.closed = record.closed or self._clock.now()
        self._write(record)

    def _write(self, record: ConnectionRecord) -> None:
        if self._log is not None:
            self._log(record)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._open.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


def _prepare(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
