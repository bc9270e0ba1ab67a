"""What every backend offers, whatever it speaks: start a call, stream its answer into a Sink, fail by cause and moment.

Owns the vocabulary shared by transports and the pipeline; knows nothing of sockets or callers.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from _native.relay import Sink, Source
from backends.call import Call


class Cause(StrEnum):
    """Why an attempt failed, in words that metrics use as a label."""

    DNS = "dns"
    ADDRESS = "address"  # the host leads where this endpoint may not be
    CONNECT = "connect"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    POOL_FULL = "pool_full"
    DISCONNECTED = "disconnected"
    PROTOCOL = "protocol"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    STATUS = "status"
    BAD_ANSWER = "bad_answer"


class Moment(StrEnum):
    """How far an attempt had come."""

    CONNECT = "connect"  # nothing was sent
    HEAD = "head"  # the request was sent, no answer's head yet
    BODY = "body"  # inside the answer


class UpstreamError(Exception):
    """An attempt failed. `cause` and `moment` decide what may follow; `detail` is for our log, never for the caller."""

    def __init__(self, cause: Cause, moment: Moment, detail: str = "") -> None:
        super().__init__(f"{cause} ({moment}): {detail}" if detail else f"{cause} ({moment})")
        self.cause = cause
        self.moment = moment
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds one attempt may spend: to connect, until the answer's head, between two reads, and in all."""

    connect: float = 1.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 600.0
    pool_idle: float = 4.0


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """One place that serves a model. Equal specs share one backend, so pools outlive a reload that left them alone.

    url: base up to and including the version segment ("http://host:port/v1"); model: name to send, None for the
    caller's; deadlines in seconds; dialect: what it speaks (`backends.dialects.spoken`); api_key goes in the field
    `auth`, after `Bearer` where that is `authorization`; query: what every request's target ends with; max_output: most
    tokens of an answer, 0 where nobody says; lacks: request fields that it refuses (`backends.dialects.likeness`).
    networks: where all its addresses must be, None for anywhere a model server may be. public_only: its host is not
    the admin's word, so it must not lead into a private network.
    """

    name: str
    url: str
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    tier: str = "L2"
    weight: int = 1
    max_connections: int = 1024
    ca_file: str | None = None
    dialect: str = "openai"
    auth: str = "authorization"
    query: str = ""
    max_output: int = 0
    lacks: frozenset[str] = frozenset()
    deadlines: Deadlines = field(default_factory=Deadlines)
    region: str | None = None
    networks: tuple[str, ...] | None = None
    public_only: bool = False


class BodyFeed(Protocol):
    """A request body that arrives while it is sent (uploads)."""

    def start(self, call: "Upload") -> None:
        """The connection is ready: push pieces into `call.send` as they arrive."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Upload(Protocol):
    """Where a BodyFeed puts its pieces."""

    def send(self, data: bytes, last: bool) -> None: ...


class Backend(Protocol):
    """Talks to one endpoint."""

    def start(self, call: Call, sink: Sink) -> Source:
        """Sends the call, now or once a connection is there. The sink hears head, write, finish; or fail with an
        UpstreamError, exactly once. Cancel through the Source: then the sink hears nothing more. Never raises."""
        ...

    async def close(self) -> None: ...
