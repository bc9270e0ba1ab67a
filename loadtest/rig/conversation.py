"""A raw client connection: writes what it is told, reads replies in order, leaves by FIN or by RST.

Owns one socket on the running loop. Knows nothing of gateways.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, Self

from loadtest.rig.reply import Reply, ReplyReader

PATIENCE = 30.0
CHAT = "/v1/chat/completions"


class Conversation(asyncio.Protocol):
    """One connection. Every wait ends after `PATIENCE` seconds with TimeoutError."""

    def __init__(self) -> None:
        self.reader = ReplyReader()
        self.received = 0
        self.reads: list[tuple[float, bytes]] = []
        """When (loop time) and what each read brought."""
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.problem: ValueError | None = None
        self._news = asyncio.Event()
        self._given = 0
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1", receive_buffer: int | None = None) -> Self:
        """Connects. receive_buffer: SO_RCVBUF in bytes, for readers that are to be slow."""
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, (host, port))
        _, client = await loop.create_connection(cls, sock=sock)
        return client

    # -- asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.reads.append((asyncio.get_running_loop().time(), data))
        try:
            self.reader.feed(data)
        except ValueError as error:
            self.problem = error
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reader.eof()
        if not self.ended.done():
            self.ended.set_result("rst" if isinstance(exc, ConnectionError) else "fin")
        self._news.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- what tests do

    def send(self, data: bytes) -> None:
        """Writes one request, or the beginning of one."""
        self.reader.expect(data.partition(b" ")[0].decode("latin-1"))
        self.transport.write(data)

    async def push(self, data: bytes) -> None:
        """Writes more of a request and waits until the kernel has room. Raises ConnectionError when it is over."""
        if self.ended.done():
            raise ConnectionResetError("the connection has ended")
        self.transport.write(data)
        await self._writable.wait()

    async def until(self, true: Callable[[], object]) -> None:
        """Waits until `true()` holds after something arrived. Raises ConnectionError when the connection ends."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                if self.problem is not None:
                    raise self.problem
                if self.ended.done():
                    raise ConnectionResetError(f"ended by {self.ended.result()}, at {self.reader.current}")
                self._news.clear()
                await self._news.wait()

    async def reply(self) -> Reply:
        """The next whole reply."""
        await self.until(lambda: len(self.reader.done) > self._given)
        self._given += 1
        return self.reader.done[self._given - 1]

    async def ask(self, request: bytes) -> Reply:
        """One request, its whole reply."""
        self.send(request)
        return await self.reply()

    async def events(self, count: int) -> Reply:
        """The running reply once `count` events are there."""
        await self.until(lambda: len(self.reader.current.events) >= count or len(self.reader.done) > self._given)
        return self.reader.current

    async def end(self) -> str:
        """How the other side ended the connection: fin or rst."""
        async with asyncio.timeout(PATIENCE):
            return await self.ended

    def stall(self) -> None:
        """Reads nothing from now on."""
        self.transport.pause_reading()

    def wake(self) -> None:
        self.transport.resume_reading()

    def leave(self, how: str = "fin") -> None:
        """Closes at once, by fin or rst."""
        if how == "rst":
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def post(
    body: bytes | dict[str, Any],
    path: str = CHAT,
    *,
    headers: Iterable[tuple[str, str]] = (),
    method: str = "POST",
    key: str | None = None,
) -> bytes:
    """A request with a JSON body. headers replace the fields of their names."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    extra = list(headers)
    names = {name.lower() for name, _ in extra}
    fields = [("host", "gateway"), ("content-type", "application/json"), ("content-length", str(len(data)))]
    if key is not None:
        fields.append(("authorization", f"Bearer {key}"))
    fields = [field for field in fields if field[0] not in names] + extra
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogatepass") + data


def chat(
    fault: dict[str, Any] | None = None,
    *,
    text: str = "hello",
    model: str = "llama",
    key: str | None = None,
    **more: Any,
) -> bytes:
    """A chat request; `fault` goes to the mock in its own field."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return post(body if fault is None else body | {"mock": fault}, key=key)
