"""Opens connections to one endpoint: name, addresses, TCP, TLS.

Owns the order of addresses, that all of them are judged first (`networks`), and what a failure is called; does not keep
connections (`pool`). A host is looked up once: what was judged is what is connected to. Single event loop.
"""

import asyncio
import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import SplitResult

from _native.http1 import FieldNames
from _native.relay import Connection
from _native.tls import Secure
from _native.transport import Poller
from backends.base import Cause, EndpointSpec, Moment, UpstreamError
from backends.http.networks import AddressRule
from backends.http.resolver import Resolver
from scheduler.clock import Clock

if TYPE_CHECKING:
    from _native.relay import ConnectionPool

#: Kernel receive buffer per connection, bytes. Left to itself the kernel takes 4 MiB for a stream whose caller stalls.
RECEIVE_BUFFER = 128 * 1024


class Connector:
    """Knows where one endpoint listens."""

    def __init__(
        self,
        spec: EndpointSpec,
        url: SplitResult,
        resolver: Resolver,
        clock: Clock,
        wanted: FieldNames | None,
        poller: Poller,
    ) -> None:
        self._spec = spec
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._tls = make_context(spec.ca_file) if url.scheme == "https" else None
        self._resolver = resolver
        self._rule = AddressRule(spec.networks, public_only=spec.public_only)
        self._clock = clock
        self._wanted = wanted
        self._poller = poller
        self._turn = 0

    async def connect(self, pool: "ConnectionPool") -> Connection:
        """A connection that belongs to `pool`. Tries every address, each for its share of the connect time-out. Raises
        UpstreamError."""
        deadline = self._clock.monotonic() + self._spec.deadlines.connect
        try:
            async with asyncio.timeout(self._spec.deadlines.connect):
                addresses = await self._resolver.addresses(self._host)
        except TimeoutError as error:
            raise UpstreamError(Cause.DNS, Moment.CONNECT, "name resolution timed out") from error
        except OSError as error:
            raise UpstreamError(Cause.DNS, Moment.CONNECT, str(error)) from error
        why = self._rule.objection(addresses)
        if why is not None:
            raise UpstreamError(Cause.ADDRESS, Moment.CONNECT, f"{self._host} was not connected to: {why}")
        failure = UpstreamError(Cause.CONNECT_TIMEOUT, Moment.CONNECT, "no time left to connect")
        for tried, address in enumerate(self._rotated(addresses)):
            left = deadline - self._clock.monotonic()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(max(left / (len(addresses) - tried), min(left, 0.25))):
                    return await self._connect_to(address, pool)
            except TimeoutError:
                failure = UpstreamError(Cause.CONNECT_TIMEOUT, Moment.CONNECT, f"{address} did not answer")
            except ssl.SSLError as error:
                failure = UpstreamError(Cause.TLS, Moment.CONNECT, str(error))
            except OSError as error:
                # What a server said counts for more than nobody listening on the host's other addresses.
                if failure.cause is not Cause.TLS:
                    failure = UpstreamError(Cause.CONNECT, Moment.CONNECT, str(error))
        raise failure

    async def _connect_to(self, address: str, pool: "ConnectionPool") -> Connection:
        connection = Connection(pool, self._wanted)
        if self._tls is None:
            channel = await self._open_socket(address)
            self._poller.attach(channel.detach(), connection)
        else:
            await self._secure(address, self._tls, connection)
        return connection

    async def _secure(self, address: str, context: ssl.SSLContext, connection: Connection) -> None:
        """Opens a socket and shakes hands on it. Raises OSError, of which ssl.SSLError is one."""
        established: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        secure = Secure(context, self._host, connection, established)
        channel = await self._open_socket(address)
        self._poller.attach(channel.detach(), secure)
        try:
            await established
        except BaseException:
            secure.abort()
            raise

    async def _open_socket(self, address: str) -> socket.socket:
        """A connected, non-blocking TCP socket."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        channel = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            await self._establish(channel, address)
        except BaseException:
            channel.close()
            raise
        return channel

    async def _establish(self, channel: socket.socket, address: str) -> None:
        """Raises OSError. uvloop's own sock_connect looks numbers up like names, in a thread."""
        number = channel.connect_ex((address, self._port))
        if number == errno.EINPROGRESS:
            await _writable(channel)
            number = channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, f"{os.strerror(number)}: {address} port {self._port}")

    def _rotated(self, addresses: list[str]) -> list[str]:
        self._turn = (self._turn + 1) % len(addresses)
        return addresses[self._turn :] + addresses[: self._turn]


def make_context(ca_file: str | None) -> ssl.SSLContext:
    """Who is trusted: the authorities in a PEM file, or those of the system. What is agreed on stays agreed: TLS 1.2
    lets a server ask for another handshake in the middle of an answer."""
    context = ssl.create_default_context(cafile=ca_file)
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


async def _writable(channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def note() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(channel, note)
    try:
        await ready
    finally:
        loop.remove_writer(channel)
