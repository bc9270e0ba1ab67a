"""A running mock and a raw HTTP client that shows every byte, segment and ending."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import uvloop

from backends.mock import Fault, MockOptions, MockServer
from scheduler.clock import SystemClock

CHAT = "/v1/chat/completions"


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """Every test here runs on both loops the mock supports."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Tap(asyncio.Protocol):
    """Collects what arrives, one entry per read."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.times: list[float] = []
        self.ended = asyncio.get_running_loop().create_future()
        self._arrived = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.reads.append(data)
        self.times.append(asyncio.get_running_loop().time())
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result("rst" if isinstance(exc, ConnectionResetError) else "fin")
        self._arrived.set()

    @property
    def raw(self) -> bytes:
        return b"".join(self.reads)

    async def until(self, found: Callable[[bytes], bool]) -> bytes:
        """Waits until what has arrived satisfies `found`."""
        async with asyncio.timeout(30):
            while not found(self.raw):
                assert not self.ended.done(), f"ended early: {self.raw!r}"
                self._arrived.clear()
                await self._arrived.wait()
        return self.raw

    async def end(self) -> str:
        """Waits for the end and tells how it came: fin or rst."""
        async with asyncio.timeout(30):
            return await self.ended

    async def silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing more arrives, not even an end, for that long."""
        before = len(self.reads)
        done, _ = await asyncio.wait([self.ended], timeout=seconds)
        return not done and len(self.reads) == before


@dataclass
class Reply:
    """A response taken apart."""

    raw: bytes
    ending: str
    reads: list[bytes] = field(default_factory=list)

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def status(self) -> int:
        return int(self.raw[9:12])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def body(self) -> bytes:
        body = self.raw.partition(b"\r\n\r\n")[2]
        return b"".join(self.chunks) if self.headers.get("transfer-encoding") == "chunked" else body

    @property
    def chunks(self) -> list[bytes]:
        return dechunk(self.raw.partition(b"\r\n\r\n")[2])[0]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> list[bytes]:
        """Payload of every `data:` line of a stream with LF line ends."""
        return [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]

    @property
    def frames(self) -> list[Any]:
        return [json.loads(data) for data in self.data if data != b"[DONE]"]


def dechunk(data: bytes) -> tuple[list[bytes], bytes]:
    """Chunks up to the last one, and what is behind it; an incomplete chunk is returned as it is."""
    chunks: list[bytes] = []
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return chunks, data
        chunks.append(data[:length])
        data = data[length + 2 :]
    return chunks, b""


class Mock:
    """A server under test with raw access to it."""

    def __init__(self, server: MockServer, port: int) -> None:
        self.server = server
        self.port = port

    async def connect(self) -> Tap:
        _, tap = await asyncio.get_running_loop().create_connection(Tap, "127.0.0.1", self.port)
        return tap

    async def send(self, body: Any, path: str = CHAT, **more: Any) -> Tap:
        tap = await self.connect()
        tap.transport.write(request_bytes(body, path, **more))
        return tap

    async def fetch(self, body: Any, path: str = CHAT, **more: Any) -> Reply:
        tap = await self.send(body, path, close=True, **more)
        ending = await tap.end()
        return Reply(tap.raw, ending, tap.reads)

    async def chat(self, fault: Fault | None = None, **more: Any) -> Reply:
        return await self.fetch(chat_body(fault, **more))

    async def stream(self, fault: Fault | None = None, **more: Any) -> Reply:
        return await self.fetch(chat_body(fault, stream=True, **more))


def request_bytes(
    body: Any, path: str = CHAT, *, close: bool = False, method: str = "POST", headers: dict[str, str] | None = None
) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"host": "mock", "content-type": "application/json", "content-length": str(len(data))} | (headers or {})
    if close:
        fields["connection"] = "close"
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data


def chat_body(fault: Fault | None = None, text: str = "hello", **more: Any) -> dict[str, Any]:
    body = {"model": "mock-model", "messages": [{"role": "user", "content": text}], **more}
    return body if fault is None else body | {"mock": fault_json(fault)}


def fault_json(fault: Fault) -> Any:
    return msgspec.to_builtins(fault)


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Any]]:
    """Starts servers with the given options and closes them afterwards."""
    async with AsyncExitStack() as stack:

        async def begin(log: Any = None, **options: Any) -> Mock:
            server = MockServer(MockOptions(**options), SystemClock(), log)
            port = await server.start()
            stack.push_async_callback(server.close)
            return Mock(server, port)

        yield begin


@pytest.fixture
async def mock(start: Callable[..., Any]) -> Mock:
    """A server that answers four tokens at once."""
    return await start(tokens=4)


@pytest.fixture
def request_of() -> Callable[..., bytes]:
    return request_bytes


@pytest.fixture
def chat_of() -> Callable[..., dict[str, Any]]:
    return chat_body


@pytest.fixture
def b64() -> Callable[[bytes], str]:
    return lambda data: base64.b64encode(data).decode()
