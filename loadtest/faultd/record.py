"""The proxy's log: one JSON line per connection.

Owns the line's shape and the running digests. Does not decide when a connection ends. Concurrency: one event loop.
"""

import hashlib
from typing import BinaryIO, Literal

import msgspec

Side = Literal["client", "target", "proxy"]


class FlowRecord(msgspec.Struct, kw_only=True):
    """One direction: what the sender sent and what the receiver was given (they differ when a fault acted).

    Counts are bytes; digests are SHA-256 in hex, written when the connection ends.
    """

    received: int = 0
    forwarded: int = 0
    sha256_received: str = ""
    sha256_forwarded: str = ""


class ConnectionRecord(msgspec.Struct, kw_only=True):
    """One connection. Times are wall-clock seconds; `closed` is None while (or when still, at the end) it is open."""

    id: int
    """Counted from 1 since the proxy started."""
    opened: float
    client: str
    """The caller's address, host:port."""
    up: FlowRecord
    down: FlowRecord
    closed: float | None = None
    closed_by: Side | None = None
    """Who ended it first."""
    ended: Literal["fin", "rst", "unreachable"] | None = None
    applied: list[str] = []
    """Names of the faults that acted on it."""


class Tally:
    """Counts and hashes one direction into its record."""

    __slots__ = ("_forwarded", "_received", "_record")

    def __init__(self, record: FlowRecord) -> None:
        self._record = record
        self._received = hashlib.sha256()
        self._forwarded = hashlib.sha256()

    def receive(self, data: bytes) -> None:
        self._record.received += len(data)
        self._received.update(data)

    def forward(self, data: bytes) -> None:
        self._record.forwarded += len(data)
        self._forwarded.update(data)

    def finish(self) -> None:
        """Writes the digests into the record."""
        self._record.sha256_received = self._received.hexdigest()
        self._record.sha256_forwarded = self._forwarded.hexdigest()


class RecordFile:
    """A log that writes each record as a JSON line, at once. The caller owns the file."""

    __slots__ = ("_file",)

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __call__(self, record: ConnectionRecord) -> None:
        self._file.write(msgspec.json.encode(record) + b"\n")
        self._file.flush()
