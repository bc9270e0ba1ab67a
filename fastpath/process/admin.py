"""The admin port: metrics, health and the requests in flight, on the supervisor's loop.

Owns: a small HTTP/1.1 server (h11) and its table of routes. Does not: collect what it shows; `Node` does. Concurrency:
one task per connection, at most `MAX_CONNECTIONS`. There is no authentication, so a Host header that names another
site is refused: a web page must not read this port by rebinding its own name to it.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import h11
import msgspec

from fastpath.route.live import LiveEndpoint

MAX_CONNECTIONS: Final = 64
IDLE: Final = 75.0  # seconds; Prometheus scrapes every 15 to 60 over one connection
_READ: Final = 16_384


class Node(Protocol):
    """What the admin port shows."""

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Exposition text and content type."""
        ...

    async def requests(self) -> list[dict[str, Any]]:
        """Requests in flight in all workers."""
        ...

    async def loads(self) -> list[LiveEndpoint] | None:
        """What one worker knows of the endpoints; None while none answers."""
        ...

    def alive(self) -> int:
        """Workers alive."""
        ...

    def ready(self) -> bool:
        """Whether all workers take requests."""
        ...


class Reply(msgspec.Struct, frozen=True):
    """A whole response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    allow: str = ""


Handler = Callable[[str], Awaitable[Reply]]


class AdminServer:
    """Serves `node` on a listening socket, which it takes over. `host` is the configured admin host.

    `degraded` says what is wrong while traffic goes on; a node that takes requests is ready all the same.
    """

    def __init__(self, node: Node, listener: socket.socket, host: str) -> None:
        self._node = node
        self._listener = listener
        self._host = host.strip("[]").lower()
        self.degraded: Callable[[], tuple[str, ...]] = tuple
        self.endpoints: Callable[[], list[dict[str, Any]]] = list  # how those are that are watched
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._routes: dict[str, Handler] = {
            "/metrics": self._metrics,
            "/debug/requests": self._debug_requests,
            "/debug/load": self._debug_load,
            "/endpoints": self._endpoints,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }

    async def start(self) -> None:
        """Begins to accept."""
        self._server = await asyncio.start_server(self._accept, sock=self._listener)

    async def close(self) -> None:
        """Stops accepting and ends open connections."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, TimeoutError):
            return  # the caller left, or said nothing for too long
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            async with asyncio.timeout(IDLE):
                reply = await self._next_reply(connection, reader, writer)
            if reply is None:
                return
            _send(connection, writer, reply)
            await writer.drain()
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _next_reply(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Reply | None:
        try:
            request = await _next_request(connection, reader)
        except h11.RemoteProtocolError as error:
            return _error(error.error_status_hint, "bad_request", "That is not an HTTP/1.1 request.")
        if request is None:
            return None
        return await self._answer(request, str(writer.get_extra_info("sockname")[0]))

    async def _answer(self, request: h11.Request, reached_at: str) -> Reply:
        headers = dict(request.headers)
        if not self._trusts(headers.get(b"host", b"").decode("latin-1"), reached_at):
            return _error(403, "host_not_allowed", "The Host header does not name this admin port.")
        path = request.target.decode("latin-1").partition("?")[0]
        handler = self._routes.get(path)
        if handler is None:
            return _error(404, "not_found", f"No such path. There are: {', '.join(self._routes)}.")
        if request.method != b"GET":
            return _error(405, "method_not_allowed", "Only GET works here.", allow="GET")
        return await handler(headers.get(b"accept", b"").decode("latin-1"))

    def _trusts(self, header: str, reached_at: str) -> bool:
        # The address of this very connection is as good as a configured one: only names can be rebound.
        name = host_name(header)
        return name in ("localhost", self._host, reached_at) or _is_loopback(name)

    async def _metrics(self, accept: str) -> Reply:
        body, content_type = await self._node.metrics(accept)
        return Reply(200, body, content_type)

    async def _debug_requests(self, accept: str) -> Reply:
        return _json(200, await self._node.requests())

    async def _debug_load(self, accept: str) -> Reply:
        found = await self._node.loads()
        return _json(200, found) if found is not None else _error(503, "no_workers", "No worker takes requests now.")

    async def _endpoints(self, accept: str) -> Reply:
        return _json(200, self.endpoints())

    async def _healthz(self, accept: str) -> Reply:
        if self._node.alive():
            return _json(200, {"status": "ok"})
        return _error(503, "no_workers", "No worker process is alive.")

    async def _readyz(self, accept: str) -> Reply:
        if self._node.ready():
            problems = self.degraded()
            return _json(200, {"status": "degraded", "problems": problems} if problems else {"status": "ready"})
        return _error(503, "not_ready", "Not all workers take requests: they are starting or draining.")


def host_name(header: str) -> str:
    """The name or address in a Host header, lower case, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].rstrip(".").lower()


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def _next_request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The next request; None at the end of the connection. Raises h11.RemoteProtocolError."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ))
        elif isinstance(event, h11.Request):
            connection.next_event()  # takes the end of a request without body, so that the connection can be kept
            return event
        else:
            return None


def _send(connection: h11.Connection, writer: asyncio.StreamWriter, reply: Reply) -> None:
    if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    headers = [
        ("content-type", reply.content_type),
        ("content-length", str(len(reply.body))),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ]
    if reply.allow:
        headers.append(("allow", reply.allow))
    if connection.their_state is not h11.DONE:
        headers.append(("connection", "close"))
    for event in (h11.Response(status_code=reply.status, headers=headers), h11.Data(reply.body), h11.EndOfMessage()):
        writer.write(connection.send(event) or b"")


def _json(status: int, value: object) -> Reply:
    return Reply(status, msgspec.json.encode(value))


def _error(status: int, code: str, message: str, allow: str = "") -> Reply:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Reply(status, msgspec.json.encode(body), allow=allow)
