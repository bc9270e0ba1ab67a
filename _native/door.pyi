"""The caller's side of the native door: HTTP/1.1 connections on an asyncio transport, in compiled code.

One CallerConnection per socket, one CallerExchange at a time on it; pipelined requests wait their turn. Everything
runs on the loop's thread; nothing awaits, and no Task, Future or timer is made per request.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, type_check_only

from _native.clock import Clock
from _native.http1 import FieldNames
from _native.relay import Sink, Source

@type_check_only
class Door(Protocol):
    """What a connection needs of its door."""

    @property
    def clock(self) -> Clock: ...
    @property
    def date(self) -> bytes:
        """The Date field of answers, with its CR LF."""

    @property
    def high_water(self) -> int:
        """Bytes of answer that may wait in the transport before the source is paused."""

    def peer(self, address: tuple[str, int]) -> str:
        """Whose connection this is, given the socket's other end."""

    @property
    def begin(self) -> Callable[[CallerExchange], None]:
        """Takes each request."""

    @property
    def fields_read(self) -> FieldNames | None:
        """The request fields to keep, None for all."""

    def opened(self, connection: CallerConnection) -> None: ...
    def closed(self, connection: CallerConnection) -> None: ...
    def soon(self, callback: Callable[[], None]) -> None: ...
    def too_large(self, limit: int) -> Exception: ...
    def slow_body(self) -> Exception: ...
    def broken_body(self) -> Exception: ...
    def judge(self, data: bytes, peer: str) -> bytes | None:
        """The whole answer for a doubted caller whose request begins like this, None to serve it."""

    def refusal(self, status: int, reason: str, peer: str) -> bytes:
        """Header fields, blank line and body of the answer to bytes which never became a request."""

class CallerConnection:
    """One caller's connection (an asyncio protocol)."""

    def __new__(cls, door: Door) -> CallerConnection: ...
    @property
    def peer(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    @property
    def expecting(self) -> bool:
        """A request may come, or is arriving."""

    def connection_made(self, transport: Any) -> None: ...
    def doubt(self) -> None:
        """It came while there was too much: the door judges what it sends first."""

    def connection_lost(self, exc: Exception | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def stop(self, chance: float) -> None:
        """No more requests after the running one. An idle connection is closed; but a new one, and one answered less
        than `chance` seconds ago, has so long for a last request, which may be on its way."""

    def abort(self) -> None: ...
    def sweep(self, now: float, head_limit: float, idle_limit: float) -> None:
        """Enforces deadlines (s): slow heads (a first request must come as fast as a head), slow bodies, idle
        connections."""

class Exchange(Sink):
    """One request and its answer, as a door hands it on: what the pipeline sees of a caller. Doors subclass it.

    method, path (raw, undecoded, without query), query; fields: (lower-case) name to last value, of the names that the
    gateway reads at least; repeated: one of these occurs twice; peer: address of the socket's other end ("" for a Unix
    socket); declared_length: Content-Length in bytes, 0 when there is none (doors refuse a malformed one); on_left is
    called once if the caller disconnects before the answer is complete.
    """

    method: str
    path: str
    query: bytes
    fields: dict[bytes, bytes]
    repeated: bool
    peer: str
    declared_length: int
    on_left: Callable[[], None] | None
    @property
    def buffered(self) -> int:
        """Answer bytes that wait for the caller."""

    @property
    def stalled_since(self) -> float | None:
        """Since when (monotonic s) the caller has taken nothing, None while it keeps up."""

    def values(self, name: bytes) -> list[bytes]:
        """All values of that (lower-case) name, in order."""

    def read(self, limit: int, seconds: float, taker: Any) -> None:
        """Collects the whole body for a `BodyTaker`; refuses it when it exceeds `limit` bytes or stalls for `seconds`.
        A Content-Length above the limit is the pipeline's to see."""

    def read_pieces(self, limit: int, seconds: float, reader: Any) -> Source:
        """Hands the body to a `BodyReader` as it arrives. The Source pauses and resumes it."""

    def reply(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Sends a whole answer (Content-Length is added)."""

    def stream(self, status: int, headers: Sequence[tuple[bytes, bytes]], source: Source) -> Sink:
        """Opens a streamed answer. The Sink pauses and resumes `source` as the caller keeps up; its `fail` cuts the
        connection so that the caller sees a broken answer."""

    def abort(self) -> None:
        """Cuts the caller off."""

class CallerExchange(Exchange):
    """The native door's: it is the Sink of its own stream."""

    def pause_body(self) -> None: ...
    def resume_body(self) -> None: ...

class BodySource(Source):
    """Pauses and resumes the reading of one request body."""

    def __new__(cls, exchange: CallerExchange) -> BodySource: ...
