"""What a node's supervisor asks its control process: how it is, and what was spent before this node counted.

Owns the messages and their form: one line of JSON each way for each connection, over the Unix socket `node.sock` in the
state folder. Owns whom either end believes, too: the kernel says who is there (the same user, or root), so no secret is
needed. Does not own the two ends (`fastpath.process.liaison`, `controlplane.liaison`). Stateless.
"""

import os
import socket
import struct
from typing import Any, Final, Literal

import msgspec

SOCKET: Final = "node.sock"
MOST_LINE: Final = 1 << 20
"""Bytes of a line, at most."""
MOST_QUESTIONS: Final = 200
"""Of one message: each costs the database a look-up."""

_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid

Level = Literal["tenant", "team", "user", "key"]
Unit = Literal["tokens", "money"]


class Question(msgspec.Struct, frozen=True, array_like=True):
    """What somebody spent in a period, by what the ledger calls it. Unix seconds, from `start` to before `end`."""

    tenant: str
    level: Level
    name: str  # "" for the tenant itself
    unit: Unit
    currency: str  # whose money; of tokens all count
    start: float
    end: float


class PulseAsked(msgspec.Struct, frozen=True, tag="pulse"):
    """How are you?"""


class SpentAsked(msgspec.Struct, frozen=True, tag="spent"):
    """What was spent? At most MOST_QUESTIONS."""

    questions: tuple[Question, ...]


class ModelSeen(msgspec.Struct, frozen=True, array_like=True):
    """A model of the settings file. endpoints: what the file says of each, plain, without keys; with its label."""

    name: str
    endpoints: list[dict[str, Any]]


class EndpointSeen(msgspec.Struct, frozen=True, array_like=True):
    """How an endpoint is by its probes. since: monotonic seconds of this node; 0: it is not probed."""

    model: str
    endpoint: str
    state: str
    message: str = ""
    since: float = 0.0


class SceneShown(msgspec.Struct, frozen=True, tag="scene"):
    """What of this node the registry of models must know. problem: why it refused what was last published."""

    models: tuple[ModelSeen, ...] = ()
    states: tuple[EndpointSeen, ...] = ()
    data_class: str | None = None
    local_networks: tuple[str, ...] = ()
    problem: str = ""


class Noted(msgspec.Struct, frozen=True, tag="noted"):
    """It was taken."""


class Vitals(msgspec.Struct, frozen=True, tag="vitals", kw_only=True):
    """How a control process is. Counts are since it started; bytes, seconds."""

    backlog_bytes: int = 0
    backlog_records: int = 0
    outbox_bytes: int = 0
    lag_seconds: float = 0.0
    records: int = 0
    transactions: int = 0
    quarantined: int = 0
    lost: int = 0
    lost_bound: dict[str, int] = {}  # nano-units by currency
    lost_unbounded: int = 0  # requests
    failures: int = 0
    publication: int = 0  # version of what was last published, 0: nothing yet
    database_errors: dict[str, int] = {}
    alerts: int = 0
    deliveries: dict[str, int] = {}
    deliveries_waiting: int = 0


class SpentTold(msgspec.Struct, frozen=True, tag="amounts"):
    """Tokens, or nano-units, in the order of the questions."""

    amounts: tuple[int, ...]


class Declined(msgspec.Struct, frozen=True, tag="declined"):
    """No answer now, and why."""

    problem: str


Asked = PulseAsked | SpentAsked | SceneShown
Told = Vitals | SpentTold | Declined | Noted


def encode(message: Asked | Told) -> bytes:
    """One line."""
    return msgspec.json.encode(message) + b"\n"


def decode_asked(line: bytes) -> Asked:
    """Raises msgspec.DecodeError."""
    found: Asked = msgspec.json.decode(line, type=Asked)
    return found


def decode_told(line: bytes) -> Told:
    """Raises msgspec.DecodeError."""
    found: Told = msgspec.json.decode(line, type=Told)
    return found


def is_ours(connection: socket.socket) -> bool:
    """Whether the same user, or root, is at the other end of a Unix socket, as the kernel knows it."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(raw)[1] in (0, os.geteuid())
