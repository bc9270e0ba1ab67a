"""The PROXY protocol (v1 and v2, haproxy's specification): who really connects through a TCP load balancer.

`read_header` is sans-I/O. `ProxyFront` serves doors that accept for themselves and cannot read the header: it accepts
in their place, reads it, and passes the connection on to the door's own loopback listener, remembering whose it is by
its port. Loop-bound; one pair of transports per connection, each paused while the other is full.
"""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Callable

V1_LIMIT = 107
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2_LIMIT = 16 + 2048
HIGH_WATER = 64 * 1024
PATIENCE = 5.0


class BadProxyHeader(ValueError):
    """The connection does not begin with a PROXY header."""


def read_header(data: bytes) -> tuple[int, str | None] | None:
    """(bytes the header takes, caller's address or None when the proxy speaks for itself); None: more is needed."""
    if data[:12] == V2_SIGNATURE[: len(data[:12])]:
        return _read_v2(data) if len(data) >= 16 else None
    if data[:6] == b"PROXY "[: len(data[:6])]:
        return _read_v1(data)
    raise BadProxyHeader("no PROXY header")


def _read_v1(data: bytes) -> tuple[int, str | None] | None:
    end = data.find(b"\r\n", 0, V1_LIMIT)
    if end < 0:
        if len(data) >= V1_LIMIT:
            raise BadProxyHeader("a version 1 header without its end")
        return None
    words = data[:end].split(b" ")
    if words[1:2] == [b"UNKNOWN"]:
        return end + 2, None
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise BadProxyHeader("a malformed version 1 header")
    return end + 2, _address(words[2].decode("latin-1"), 4 if words[1] == b"TCP4" else 6)


def _read_v2(data: bytes) -> tuple[int, str | None] | None:
    command, family, size = struct.unpack_from("!BBH", data, 12)
    if command >> 4 != 2 or command & 15 > 1 or 16 + size > V2_LIMIT:
        raise BadProxyHeader("a malformed version 2 header")
    if len(data) < 16 + size:
        return None
    if command & 15 == 0:
        return 16 + size, None
    width = {1: 4, 2: 16}.get(family >> 4)
    if width is None:
        return 16 + size, None
    if size < 2 * width + 4:
        raise BadProxyHeader("a version 2 header too short for its addresses")
    return 16 + size, str(ipaddress.ip_address(data[16 : 16 + width]))


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise BadProxyHeader("a version 1 header with no address") from error
    if address.version != version:
        raise BadProxyHeader("a version 1 header whose address is of another family")
    return str(address)


class ProxyFront:
    """Accepts in a door's place. `addresses`: port of the inner connection -> the caller's address."""

    def __init__(self, is_trusted: Callable[[str], bool]) -> None:
        self.addresses: dict[int, str] = {}
        self.inner = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.inner.setblocking(False)
        self._is_trusted = is_trusted
        self._server: asyncio.Server | None = None
        self._links: set[Link] = set()

    async def start(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Link(self), sock=listener.dup())

    def stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()

    def close(self) -> None:
        self.stop_accepting()
        self.inner.close()
        for link in list(self._links):
            link.close()

    def opened(self, link: "Link") -> bool:
        """Whether this peer may speak for others."""
        self._links.add(link)
        return self._is_trusted(link.peer)

    def closed(self, link: "Link") -> None:
        self._links.discard(link)
        self.addresses.pop(link.port, None)


class Link(asyncio.Protocol):
    """The outer half of one connection."""

    def __init__(self, front: ProxyFront) -> None:
        self.peer = ""
        self.port = 0
        self._front = front
        self._transport: asyncio.Transport | None = None
        self._inner: asyncio.Transport | None = None
        self._held = b""
        self._known = False
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.peer = transport.get_extra_info("peername")[0]
        transport.set_write_buffer_limits(HIGH_WATER)
        if not self._front.opened(self):
            transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self.close)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.write(data)
            return
        self._held += data
        if self._known:
            return
        try:
            found = read_header(self._held)
        except BadProxyHeader:
            self.close()
            return
        if found is not None:
            size, address = found
            self._known = True
            self._held = self._held[size:]
            self._pause()
            self._connecting = asyncio.get_running_loop().create_task(self._connect(address or self.peer))

    def eof_received(self) -> bool:
        if self._inner is not None and self._inner.can_write_eof():
            self._inner.write_eof()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._inner is not None:
            self._inner.abort() if exc is not None else self._inner.close()
        self._front.closed(self)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_reading()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def answer(self, data: bytes) -> None:
        """Bytes from the door."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def door_closed(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def hold(self, full: bool) -> None:
        """The door's side is full, or has room again."""
        self._pause() if full else self._resume()

    async def _connect(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        channel = socket.socket()
        channel.setblocking(False)
        channel.bind(("127.0.0.1", 0))
        self.port = channel.getsockname()[1]
        self._front.addresses[self.port] = address
        try:
            await loop.sock_connect(channel, self._front.inner.getsockname())
            inner, _ = await loop.create_connection(lambda: InnerLink(self), sock=channel)
        except OSError:
            channel.close()
            self.close()
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is None or self._transport.is_closing():
            inner.abort()
            return
        self._inner = inner
        if self._held:
            inner.write(self._held)
            self._held = b""
        self._resume()

    def _pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


class InnerLink(asyncio.Protocol):
    """The half of a connection that ends at the door."""

    def __init__(self, outer: Link) -> None:
        self._outer = outer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        self._outer.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._outer.door_closed()

    def pause_writing(self) -> None:
        self._outer.hold(True)

    def resume_writing(self) -> None:
        self._outer.hold(False)
