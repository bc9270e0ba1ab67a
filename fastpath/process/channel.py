"""Messages between supervisor and worker: length-prefixed MessagePack over one inherited socket pair.

Owns: the message types and the framing. Does not: decide what a message leads to. Concurrency: one reader at a time;
`send` never waits, and questions are asked one at a time per kind, so little can pile up behind a stopped peer.
"""

import asyncio
import socket
import struct
from typing import Any, Final, Generic, TypeVar

import msgspec

from fastpath.route.live import LiveEndpoint

MAX_MESSAGE: Final = 64 << 20
_PREFIX: Final = struct.Struct("<I")


class Attach(msgspec.Struct, frozen=True, tag=True):
    """Where the node's arena is, and its secret. The first message. No folder: in an inherited descriptor."""

    secret: bytes
    folder: str | None


class Configure(msgspec.Struct, frozen=True, tag=True):
    """Settings to start with, or to swap in. `settings` is what `encode_settings` made.

    `tables`: how many key tables were handed over before it (`tables.send_tables`); `roster`: what `encode_roster` made
    of whom they point at.
    """

    number: int
    settings: bytes
    roster: bytes = b""
    tables: int = 0


class Configured(msgspec.Struct, frozen=True, tag=True):
    """Answer to `Configure`; when not `ok`, the old settings stay and `problem` says why."""

    number: int
    ok: bool
    problem: str = ""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker accepts connections."""


class Condition(msgspec.Struct, frozen=True, tag=True):
    """Whether something is wrong on this node while traffic goes on."""

    degraded: bool


class PulseRequest(msgspec.Struct, frozen=True, tag=True):
    """Asks for `Pulse`."""

    number: int


class Pulse(msgspec.Struct, frozen=True, tag=True):
    """The worker's loop runs; whether it would take new requests."""

    number: int
    ready: bool


class DebugRequest(msgspec.Struct, frozen=True, tag=True):
    """Asks for `Debug`."""

    number: int


class Debug(msgspec.Struct, frozen=True, tag=True):
    """Requests in flight: id, phase, age_ms, model, endpoint, buffered bytes."""

    number: int
    requests: list[dict[str, Any]]


class LoadRequest(msgspec.Struct, frozen=True, tag=True):
    """Asks for `Loads`."""

    number: int


class Loads(msgspec.Struct, frozen=True, tag=True):
    """What the worker knows of its endpoints now."""

    number: int
    endpoints: list[LiveEndpoint]


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Stop accepting, finish what runs within `deadline` seconds, exit. A second one replaces the deadline."""

    deadline: float


ToWorker = Attach | Configure | Condition | PulseRequest | DebugRequest | LoadRequest | Drain
ToSupervisor = Configured | Ready | Pulse | Debug | Loads
Question = Configure | PulseRequest | DebugRequest | LoadRequest
Answer = Configured | Pulse | Debug | Loads

Received = TypeVar("Received", bound=msgspec.Struct)
Sent = TypeVar("Sent", bound=msgspec.Struct)


class ChannelError(Exception):
    """The peer sent something that is no message: a bug, or not our peer."""


class Channel(Generic[Received, Sent]):
    """One end. Receives messages of one direction and sends those of the other."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        decoder: "msgspec.msgpack.Decoder[Received]",
        limit: int = MAX_MESSAGE,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder
        self._encoder = msgspec.msgpack.Encoder()
        self._limit = limit

    async def receive(self) -> Received | None:
        """The next message; None when the peer is gone. Raises ChannelError for anything else than a message."""
        try:
            prefix = await self._reader.readexactly(_PREFIX.size)
            (size,) = _PREFIX.unpack(prefix)
            if size > self._limit:
                raise ChannelError(f"a message of {size} bytes is over the limit of {self._limit}")
            data = await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):  # a peer that dies mid-message is a dead peer
            return None
        try:
            return self._decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise ChannelError(f"not a message: {error}") from error

    def send(self, message: Sent) -> None:
        """Queues a message. One to a dead peer is forgotten: `receive` tells of the death.

        Raises ChannelError when the message is over the limit.
        """
        data = self._encoder.encode(message)
        if len(data) > self._limit:
            raise ChannelError(f"a message of {len(data)} bytes is over the limit of {self._limit}")
        if not self._writer.is_closing():
            self._writer.write(_PREFIX.pack(len(data)) + data)

    async def close(self) -> None:
        """Sends what is queued, then closes."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return  # the peer was faster


async def open_worker_end(sock: socket.socket) -> Channel[ToWorker, ToSupervisor]:
    """The worker's end over its inherited socket, which it takes over."""
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    return Channel(reader, writer, msgspec.msgpack.Decoder(ToWorker))


async def open_supervisor_end(sock: socket.socket) -> Channel[ToSupervisor, ToWorker]:
    """The supervisor's end for one worker, over its half of the pair, which it takes over."""
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    return Channel(reader, writer, msgspec.msgpack.Decoder(ToSupervisor))
