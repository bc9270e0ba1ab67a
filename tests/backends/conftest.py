"""A model server that does as each test says, byte by byte, with TLS and without, and a Sink that remembers."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import trustme
import uvloop

from _native.relay import Sink
from _native.transport import Poller
from backends.base import Deadlines, EndpointSpec, UpstreamError
from backends.call import Call
from backends.http.client import HttpBackend
from backends.http.resolver import Resolver
from scheduler.clock import ManualClock

PATIENCE = 30.0
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Workers run on uvloop; embedded gateways on whatever their program has."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


class Changes:
    """Waits for something to become true, without polling: whoever changes a fact calls `changed`."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def changed(self) -> None:
        self._news.set()

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._news.clear()
                await self._news.wait()


class Secrets(msgspec.Struct, frozen=True):
    """A server's side, and the PEM file of the authority that knows it."""

    context: ssl.SSLContext
    authority: str


class Peer(asyncio.Protocol):
    """The server's end of one connection."""

    def __init__(self, server: "ScriptedServer") -> None:
        self.server = server
        self.received = b""
        self.ended: str | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.peers.append(self)
        if self.server.greeting is not None:
            self.server.greeting(self)
        self.server.changed()

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.server.changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = "rst" if isinstance(exc, ConnectionError) else "fin"
        self.server.changed()

    async def request(self) -> bytes:
        """The next whole head (and whatever came behind it), taken out of `received`."""
        await self.server.until(lambda: b"\r\n\r\n" in self.received or self.ended)
        data, self.received = self.received, b""
        return data

    async def gone(self) -> str:
        """How the client ended the connection."""
        await self.server.until(lambda: self.ended)
        assert self.ended is not None
        return self.ended

    def write(self, data: bytes) -> None:
        self.transport.write(data)


class ScriptedServer(Changes):
    """Listens on the loopback. greeting: called with each new connection."""

    def __init__(self, secrets: Secrets | None) -> None:
        super().__init__()
        self.secrets = secrets
        self.peers: list[Peer] = []
        self.greeting: Callable[[Peer], object] | None = None
        self.port = 0

    async def start(self) -> None:
        tls = None if self.secrets is None else self.secrets.context
        self.listener = await asyncio.get_running_loop().create_server(lambda: Peer(self), "127.0.0.1", 0, ssl=tls)
        self.port = self.listener.sockets[0].getsockname()[1]

    async def peer(self, number: int = 0) -> Peer:
        """The connection with that number, as soon as it is there."""
        await self.until(lambda: len(self.peers) > number)
        return self.peers[number]

    @property
    def open(self) -> int:
        return sum(peer.ended is None for peer in self.peers)

    async def close(self) -> None:
        self.listener.close()
        for peer in self.peers:
            peer.transport.abort()


class Taker(Sink):
    """Remembers an answer and checks that it ends once."""

    def __init__(self) -> None:
        self.news = Changes()
        self.status = 0
        self.body = b""
        self.ends: list[UpstreamError | None] = []
        self.take_body: Callable[[], Sink] = lambda: self

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> Sink:
        assert not self.status
        assert not self.ends
        self.status = status
        self.news.changed()
        return self.take_body()

    def write(self, data: bytes) -> None:
        assert not self.ends
        self.body += data
        self.news.changed()

    def finish(self) -> None:
        self.ends.append(None)
        self.news.changed()

    def fail(self, error: UpstreamError) -> None:
        self.ends.append(error)
        self.news.changed()

    async def end(self) -> UpstreamError | None:
        """How the answer ended: None when well."""
        await self.news.until(lambda: self.ends)
        assert len(self.ends) == 1
        return self.ends[0]


class Names:
    """A Query with answers of the test's own: host -> addresses, or an exception to raise."""

    def __init__(self) -> None:
        self.answers: dict[str, list[str] | Exception] = {}
        self.ttl = 60.0
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, host: str) -> tuple[list[str], float]:
        self.asked.append(host)
        if self.gate is not None:
            await self.gate.wait()
        found = self.answers[host]
        if isinstance(found, Exception):
            raise found
        return found, self.ttl

    async def close(self) -> None:
        pass


class Line:
    """One backend towards a scripted server, with time in the test's hands."""

    def __init__(
        self,
        server: ScriptedServer,
        host: str,
        spec: dict[str, Any],
        deadlines: dict[str, float],
        poller: Poller,
    ) -> None:
        self.server = server
        self.clock = ManualClock()
        self.names = Names()
        scheme, authority = ("http", None) if server.secrets is None else ("https", server.secrets.authority)
        url = f"{scheme}://{host}:{server.port}/v1"
        made = EndpointSpec("e", url, deadlines=Deadlines(**deadlines), ca_file=authority, **spec)
        self.backend = HttpBackend(made, Resolver(self.names, self.clock), self.clock, poller)
        self.pool = self.backend.pool

    def call(self, body: bytes | None = b"{}", **more: Any) -> tuple[Any, Taker]:
        """Starts a call: its handle, and what hears the answer."""
        taker = Taker()
        return self.backend.start(Call("POST", "/chat/completions", b"", body, **more), taker), taker

    def pass_time(self, seconds: float) -> None:
        """Time passes, and a sweep sees it."""
        self.clock.advance(seconds)
        self.backend.sweep(self.clock.monotonic())

    async def exchange(self, number: int = 0) -> None:
        """One good exchange on the server's connection with that number."""
        _, taker = self.call()
        peer = await self.server.peer(number)
        await peer.request()
        peer.write(OK)
        assert await taker.end() is None


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    """Of a server whom our side trusts."""
    authority, context = trustme.CA(key_type=trustme.KeyType.ECDSA), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "model.test", key_type=trustme.KeyType.ECDSA).configure_cert(context)
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return Secrets(context, str(file))


@pytest.fixture(params=["plain", "tls"])
async def server(request: pytest.FixtureRequest, secrets: Secrets) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(secrets if request.param == "tls" else None)
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def taker() -> Taker:
    """Hears one answer."""
    return Taker()


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    poller = Poller(asyncio.get_running_loop())
    yield poller
    poller.close()


@pytest.fixture
async def line(server: ScriptedServer, poller: Poller) -> AsyncIterator[Callable[..., Line]]:
    """Opens backends: `line(max_connections=2, deadlines={"idle": 1.0})`."""
    made: list[Line] = []

    def begin(host: str = "127.0.0.1", deadlines: dict[str, float] | None = None, **spec: Any) -> Line:
        made.append(Line(server, host, spec, deadlines or {}, poller))
        return made[-1]

    yield begin
    for one in made:
        await one.backend.close()
        assert not one.backend.calls
